package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

const (
	keysFresh  = 10 * time.Minute // keys are fetched again after that
	keysStale  = time.Hour        // and believed for so long while they cannot be
	keysRetry  = 10 * time.Second // no token makes us fetch more often than that
	fetchLimit = 1 << 20
	fetchTime  = 5 * time.Second
	tokenLimit = 16 << 10
)

// algorithms are those a token may be signed with: asymmetric ones only, so that a public key never serves as a shared secret.
var algorithms = []jose.SignatureAlgorithm{
	jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA,
}

// errNoKeys means that there is nothing to check a signature with. It passes.
var errNoKeys = errors.New("no signing keys")

// keySet is a set of public keys behind a URL. New keys are found when a token names one; withdrawn ones are forgotten with the next
// fetch. It is the KeySet of go-oidc.
type keySet struct {
	url    string
	client *http.Client
	now    func() time.Time

	flight singleflight.Group

	mu      sync.Mutex // guards all below
	keys    []jose.JSONWebKey
	fetched time.Time // when keys came
	tried   time.Time // when they were last asked for
	failure error     // of the last try
}

// VerifySignature answers what a token says, if one of the keys signed it.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		return nil, errors.New("it is not a signed token of a kind that is taken")
	}
	header := signed.Signatures[0].Protected
	// An access token says at+jwt; it proves a right, not a person (RFC 9068, section 2.1).
	if typ, ok := header.ExtraHeaders[jose.HeaderType].(string); ok && !strings.EqualFold(typ, "jwt") {
		return nil, errors.New("it is not an identity token")
	}
	key, err := k.find(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, errors.New("it is signed by another algorithm than its key is for")
	}
	payload, err := signed.Verify(key.Key)
	if err != nil {
		return nil, errors.New("its signature is wrong")
	}
	return payload, nil
}

// find is the key of that id. A token without one is taken where there is only one key.
func (k *keySet) find(ctx context.Context, id string) (jose.JSONWebKey, error) {
	if key, ok := k.held(id); ok {
		return key, nil
	}
	select {
	case r := <-k.flight.DoChan("", func() (any, error) { return nil, k.refresh(context.WithoutCancel(ctx)) }):
		_ = r.Err // kept in failure, which matters only where no key is held
	case <-ctx.Done():
		return jose.JSONWebKey{}, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.fetched) > keysStale {
		if k.failure == nil {
			k.failure = errors.New("none were there")
		}
		return jose.JSONWebKey{}, fmt.Errorf("%w: fetch them from %s: %w", errNoKeys, k.url, k.failure)
	}
	if key, ok := pick(k.keys, id); ok {
		return key, nil
	}
	return jose.JSONWebKey{}, errors.New("it is signed by a key that is not known")
}

// held is a key that is fresh.
func (k *keySet) held(id string) (jose.JSONWebKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.fetched) > keysFresh {
		return jose.JSONWebKey{}, false
	}
	return pick(k.keys, id)
}

func pick(keys []jose.JSONWebKey, id string) (jose.JSONWebKey, bool) {
	if id == "" && len(keys) == 1 {
		return keys[0], true
	}
	for _, key := range keys {
		if key.KeyID == id && id != "" {
			return key, true
		}
	}
	return jose.JSONWebKey{}, false
}

// refresh asks for the keys, unless it was done a moment ago.
func (k *keySet) refresh(ctx context.Context) error {
	k.mu.Lock()
	recent := k.now().Sub(k.tried) < keysRetry
	if !recent {
		k.tried = k.now()
	}
	k.mu.Unlock()
	if recent {
		return nil
	}
	var set jose.JSONWebKeySet
	err := fetch(ctx, k.client, k.url, &set)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failure = err
	if err != nil {
		return err
	}
	k.keys, k.fetched = nil, k.now()
	for _, key := range set.Keys {
		if key.IsPublic() && (key.Use == "" || key.Use == "sig") { // a shared secret is not public
			k.keys = append(k.keys, key)
		}
	}
	return nil
}

// fetch reads one JSON document.
func fetch(ctx context.Context, client *http.Client, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, fetchLimit))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the answer is not a set of keys in JSON")
	}
	return nil
}
