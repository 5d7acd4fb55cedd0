package spelling_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/dashboards/datasource/pkg/spelling"
	"github.com/wattledger/wattledger/dashboards/query"
)

type target struct {
	query.Query
	Timezone string `json:"timezone"`
}

func TestDecode(t *testing.T) {
	f := func(raw, fault string, unknown ...string) {
		t.Helper()
		var into target
		got, err := spelling.Decode([]byte(raw), &into, "refId", "hide")
		if fault == "" && (err != nil || !slices.Equal(got, unknown)) || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("Decode(%s) = %v, %v, want %v and %q", raw, got, err, unknown, fault)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("Decode(%s): more than a line: %v", raw, err)
		}
	}
	f(`{"kind":"fleet","metric":"power","refId":"A","hide":false,"timezone":"Europe/Paris"}`, "")
	f(`{"kind":"fleet","somethingNewOfGrafana":{"a":1}}`, "", "somethingNewOfGrafana")
	f(`{"kind":"fleet","filter":[]}`, `did you mean "filters"`)
	f(`{"kind":"fleet","Metric":"power"}`, `did you mean "metric"`)
	f(`{"kind":"fleet","closed_only":true}`, `did you mean "closedOnly"`)
	f(`{"kind":"fleet","closeOnly":true,"limits":3}`, `did you mean "limit"`)
	f(`{"kind":"fleet","timeZone":"UTC"}`, `did you mean "timezone"`)
	f(`{"filters":[{"dimension":"site","value":["a"]}]}`, `unknown field "value"`) // below a field of ours, all is ours
	f(`{"limit":"many"}`, "limit")
	f(`[]`, "cannot unmarshal")
	f(`null`, "not a JSON object")
	f(``, "unexpected end")
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"fleet","metric":"power","filters":[{"dimension":"site","values":["a"]}]}`))
	f.Add([]byte(`{"filter":1,"":2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var into target
		if _, err := spelling.Decode(raw, &into); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("more than a line: %q", err)
		}
	})
}
