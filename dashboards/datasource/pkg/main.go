// Command pkg is the backend of the Grafana data source. Grafana starts it as gpx_wattledger_<os>_<arch> and speaks to it over a
// pipe (go-plugin); nobody else does.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"
	_ "time/tzdata" // Grafana's image need not have time zones

	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/dashboards/clickhouse"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/plugin"
	"github.com/wattledger/wattledger/dashboards/datasource/pkg/settings"
	"github.com/wattledger/wattledger/internal/chconn"
)

// id is that of plugin.json.
const id = "wattledger-wattledger-datasource"

func main() {
	// The SDK serves the default registry to Grafana (CollectMetrics), which serves it under /metrics/plugins/<id>.
	metrics := plugin.NewMetrics(prometheus.DefaultRegisterer)
	if err := datasource.Manage(id, plugin.Factory(open, metrics, log.DefaultLogger), datasource.ManageOpts{}); err != nil {
		fmt.Fprintln(os.Stderr, "wattledger data source:", err)
		os.Exit(1)
	}
}

// open reaches ClickHouse as a data source says.
func open(ctx context.Context, s settings.Settings) (plugin.Engine, io.Closer, error) {
	conn, err := chconn.Open(ctx, s.Connection())
	if err != nil {
		return nil, nil, err
	}
	o := clickhouse.DefaultOptions()
	o.Panel.Time = time.Duration(s.QueryTimeout) * time.Second
	o.SQL = clickhouse.Limits{Time: time.Duration(s.SQL.Timeout) * time.Second, Memory: int64(s.SQL.MemoryMiB) << 20, Rows: s.SQL.MaxRows}
	o.AllowSQL = s.AllowSQL
	return clickhouse.New(conn, o), conn, nil
}
