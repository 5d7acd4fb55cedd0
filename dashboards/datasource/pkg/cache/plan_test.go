package cache

import (
	"testing"
	"time"

	"github.com/wattledger/wattledger/dashboards/query"
)

// A fleet is complete as far as its sums are; what a tenant held of it, and devices, as far as the rollups.
func TestHowFarTelemetryIsComplete(t *testing.T) {
	at := func(minutes int) query.LevelState {
		return query.LevelState{Complete: start.Add(time.Duration(minutes)*time.Minute + 5*time.Second)}
	}
	state := query.State{Levels: map[string]query.LevelState{"10s": at(50), "1m": at(40), "node_10s": at(30), "node_1m": at(20)}}
	f := func(kind query.Kind, scope query.Scope, step int64, minutes int) {
		t.Helper()
		want := start.Add(time.Duration(minutes) * time.Minute).Unix()
		if minutes == 0 {
			want = 0
		}
		if got := complete(state, question{scope: scope, q: query.Query{Kind: kind}}, step); got != want {
			t.Errorf("%s by %d s: complete up to %s", kind, step, time.Unix(got, 0).UTC())
		}
	}
	f(query.KindFleet, operator, 30, 30)
	f(query.KindFleet, operator, 120, 20)
	f(query.KindFleet, operator, 3600, 0) // no hour is summed yet
	f(query.KindFleet, query.Scope{Tenant: "a"}, 30, 50)
	f(query.KindDevice, operator, 5, 50)
	f(query.KindDevice, operator, 60, 40)
	delete(state.Levels, "node_10s") // a store without sums
	f(query.KindFleet, operator, 30, 50)
}
