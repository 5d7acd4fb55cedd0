// Package channel reads the paths of live channels, and binds them to a scope.
//
// Grafana runs one stream for a channel and sends what it says to all who subscribed, whoever they are. So a channel must say itself
// whose data it carries. A data source with one scope has no more to say. One that goes by identity has its scope in the path, under a
// seal that only the backend makes: it is handed out to whoever has that scope, checked against the scope of each who subscribes, and
// opened again where the stream runs, which knows no user. A path is at most 160 characters of A-Z a-z 0-9 _ - / = . (live.ParseChannel
// of the plugin SDK).
package channel

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// Path is what a channel shows.
type Path struct {
	// Seal is the sealed scope; empty where the data source has one scope.
	Seal string
	// Kind is device or fleet, and ID the device or the site.
	Kind query.Kind
	ID   string
	// Metric is one of the kind's.
	Metric string
	// Every is how often it is looked at.
	Every time.Duration
}

// The bounds on Every.
const (
	Least = time.Second
	Most  = time.Minute
)

var segment = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,80}$`)

// Parse reads device/<uuid>[/<metric>[/<seconds>]] or fleet/<site>[/…], after a seal and a slash where sealed says so.
func Parse(path string, sealed bool) (Path, error) {
	parts := strings.Split(path, "/")
	var p Path
	if sealed {
		p.Seal, parts = parts[0], parts[1:]
	}
	if len(parts) < 2 || len(parts) > 4 {
		return Path{}, errors.New("a channel is device/<uuid>/<metric> or fleet/<site>/<metric>, where needed after the prefix that the resource scope answers")
	}
	for _, s := range parts {
		if !segment.MatchString(s) {
			return Path{}, fmt.Errorf("%.80q is no name in a channel", s)
		}
	}
	p.Kind, p.ID, p.Metric, p.Every = query.Kind(parts[0]), parts[1], "power", Least
	if p.Kind != query.KindDevice && p.Kind != query.KindFleet {
		return Path{}, fmt.Errorf("channels are of kind device or fleet, not %.40q", parts[0])
	}
	if len(parts) > 2 {
		p.Metric = parts[2]
	}
	if len(parts) > 3 {
		n, err := strconv.Atoi(parts[3])
		if err != nil || time.Duration(n)*time.Second < Least || time.Duration(n)*time.Second > Most {
			return Path{}, fmt.Errorf("a channel is looked at every 1 to 60 seconds, not %.10q", parts[3])
		}
		p.Every = time.Duration(n) * time.Second
	}
	_, err := p.Query().Validate()
	return p, err
}

// Query is what the channel asks again and again.
func (p Path) Query() query.Query {
	of := query.DeviceID
	if p.Kind == query.KindFleet {
		of = query.Site
	}
	return query.Query{Kind: p.Kind, Metric: p.Metric, Form: query.FormSeries, By: []query.Dimension{of}, Filters: []query.Filter{{Dimension: of, Values: []string{p.ID}}}}
}

// Sealer seals scopes.
type Sealer struct{ key func() []byte }

// guesses makes each guess at the secret take about a tenth of a second: whoever is handed a seal can try passwords on it in peace.
const guesses = 300_000

// NewSealer makes the sealer of a data source. Its key comes from a secret of the data source, so that several servers of Grafana, or one
// after a restart, know each other's seals; where there is no secret it is made up.
func NewSealer(uid, secret string) *Sealer {
	work := guesses
	if secret == "" {
		secret, work = rand.Text(), 1
	}
	return &Sealer{sync.OnceValue(func() []byte {
		key, err := pbkdf2.Key(sha256.New, secret, []byte("wattledger live channels of data source "+uid), work, sha256.Size)
		if err != nil {
			panic(err) // of a length that is too long
		}
		return key
	})}
}

const sealLength = 16

// Seal is the scope as it stands in a path.
func (s *Sealer) Seal(scope query.Scope) string {
	text := []byte("o")
	if !scope.All {
		text = []byte("t" + scope.Tenant)
	}
	return base64.RawURLEncoding.EncodeToString(slices.Concat(s.sum(text), text))
}

// Open is the scope under a seal; false where it is none of ours.
func (s *Sealer) Open(seal string) (query.Scope, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(seal)
	if err != nil || len(raw) <= sealLength {
		return query.Scope{}, false
	}
	sum, text := raw[:sealLength], raw[sealLength:]
	if !hmac.Equal(sum, s.sum(text)) {
		return query.Scope{}, false
	}
	scope := query.Scope{All: string(text) == "o"}
	if !scope.All {
		scope.Tenant = string(text[1:])
	}
	return scope, scope.Check() == nil
}

func (s *Sealer) sum(text []byte) []byte {
	m := hmac.New(sha256.New, s.key())
	m.Write(text)
	return m.Sum(nil)[:sealLength]
}
