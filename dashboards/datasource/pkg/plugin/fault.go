package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/cache"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/identity"
	"github.com/wattledger/wattledger/dashboards/query"
	"github.com/wattledger/wattledger/internal/chconn"
)

// failure is why something was not answered: what Grafana is told, what is counted, and what stands in the log.
type failure struct {
	status  backend.Status
	outcome string
	reason  string // of a refusal
	text    string // one line, for who asks
	source  backend.ErrorSource
	err     error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// badQuestion is a question that cannot be read.
func badQuestion(err error) *failure {
	return &failure{backend.StatusBadRequest, outcomeBad, "", err.Error(), backend.ErrorSourceDownstream, err}
}

// ClickHouse's exceptions that say something to whoever asks (src/Common/ErrorCodes.cpp).
var engineSays = map[int32]struct {
	status  backend.Status
	outcome string
	text    string
}{
	158: {backend.StatusBadRequest, outcomeBad, "the answer takes more rows than are allowed: choose a shorter range or filter more"},
	159: {backend.StatusTimeout, outcomeTimeout, "the question took longer than is allowed: choose a shorter range or filter more"},
	160: {backend.StatusTimeout, outcomeTimeout, "the question would take longer than is allowed: choose a shorter range or filter more"},
	201: {backend.StatusTooManyRequests, outcomeEngine, "the quota of the data source's login is used up: try again later, or raise it (deploy/clickhouse/grafana-users.sql)"},
	202: {backend.StatusTooManyRequests, outcomeEngine, "the engine has too many questions at once: try again in a moment"},
	241: {backend.StatusBadRequest, outcomeBad, "the question takes more memory than is allowed: choose a shorter range or filter more"},
	307: {backend.StatusBadRequest, outcomeBad, "the question reads more than is allowed: choose a shorter range or filter more"},
	396: {backend.StatusBadRequest, outcomeBad, "the answer is larger than is allowed: choose a shorter range, filter more, or set a limit"},
}

// failed turns an error into what is said of it. An operator reads the engine's own words; others do not, as those show statements.
func failed(ctx context.Context, err error, kind query.Kind, all bool) *failure {
	var already *failure
	if errors.As(err, &already) {
		return already
	}
	var bug *cache.Panic
	if errors.As(err, &bug) {
		return &failure{backend.StatusInternal, outcomeFault, "", "the plugin has a fault; the operator finds it in Grafana's log", backend.ErrorSourcePlugin, fmt.Errorf("%w at %s", err, bug.Stack)}
	}
	if reason, isRefusal := identity.ReasonOf(err); isRefusal {
		status := backend.StatusForbidden
		if reason == identity.KeysMissing {
			status = backend.StatusBadGateway
		}
		return &failure{status, outcomeRefused, string(reason), err.Error(), backend.ErrorSourceDownstream, err}
	}
	if reason, isRefusal := query.ReasonOf(err); isRefusal {
		switch reason {
		case query.ReasonNoScope, query.ReasonOperatorOnly, query.ReasonSQLOff:
			return &failure{backend.StatusForbidden, outcomeRefused, string(reason), err.Error(), backend.ErrorSourceDownstream, err}
		}
		return &failure{backend.StatusBadRequest, outcomeBad, string(reason), err.Error(), backend.ErrorSourceDownstream, err}
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return &failure{backend.Status(statusClientGone), outcomeCancelled, "", context.Canceled.Error(), backend.ErrorSourceDownstream, err}
	}
	if said, known := engineSays[chconn.Code(err)]; known {
		return &failure{said.status, said.outcome, "", said.text, backend.ErrorSourceDownstream, err}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{backend.StatusTimeout, outcomeTimeout, "", "the engine did not answer in time: choose a shorter range, or see how busy it is", backend.ErrorSourceDownstream, err}
	case kind == query.KindSQL && all && chconn.Code(err) != 0 && !chconn.Temporary(err):
		return &failure{backend.StatusBadRequest, outcomeBad, "", firstLine(err), backend.ErrorSourceDownstream, err}
	}
	text := explain(err)
	if !all && chconn.Code(err) != 0 {
		text = fmt.Sprintf("the engine refused the question (ClickHouse's code %d); the operator finds more in Grafana's log", chconn.Code(err))
	}
	return &failure{backend.StatusBadGateway, outcomeEngine, "", text, backend.ErrorSourceDownstream, err}
}

// statusClientGone is what web servers log when nobody waits for the answer any more.
const statusClientGone = 499

// explain says what is wrong between us and the engine, and how to mend it.
func explain(err error) string {
	text := firstLine(err)
	switch code := chconn.Code(err); {
	case code == 516 || code == 193 || code == 194:
		return "ClickHouse does not take the login: check username and password of the data source"
	case code == 81:
		return "ClickHouse has no such database: check the database of the data source, or make it with `wattledger migrate`"
	case code == 60:
		return "a table of Wattledger's is missing: bring the schema up to date with `wattledger migrate` (" + text + ")"
	case code == 497:
		return "the login of the data source may not read all it needs: grant it what deploy/clickhouse/grafana-users.sql grants (" + text + ")"
	case code != 0:
		return text
	case strings.Contains(text, "x509:") || strings.Contains(text, "tls:"):
		return "TLS with ClickHouse fails: check the authority's certificate and the server name of the data source (" + text + ")"
	case strings.Contains(text, "malformed HTTP response") || strings.Contains(text, "server gave HTTP response to HTTPS") || strings.Contains(text, "unexpected packet"):
		return "ClickHouse speaks another protocol on that port: check protocol, port and TLS of the data source (" + text + ")"
	case chconn.Temporary(err) || strings.Contains(text, "no such host"):
		return "ClickHouse cannot be reached: check host, port and protocol of the data source, and that the server runs (" + text + ")"
	}
	return text
}

func firstLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 1000 {
		text = strings.ToValidUTF8(text[:1000], "") + "…"
	}
	return text
}

// response is what a panel is told.
func (f *failure) response() backend.DataResponse {
	return backend.DataResponse{Error: errors.New(f.text), Status: f.status, ErrorSource: f.source}
}

// status is that of HTTP, for resources.
func (f *failure) httpStatus() int {
	if f.status == 0 {
		return http.StatusInternalServerError
	}
	return int(f.status)
}
