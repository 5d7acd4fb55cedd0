package nativetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// engine is the way to the engine, as one user.
type engine struct{ addr, user, password, database string }

// exception is what the engine refused a statement with.
type exception struct {
	code int
	text string
}

func (e *exception) Error() string { return e.text }

// send runs a statement with the settings, and with the data of an insert behind it, and answers Native of our revision.
func (e engine) send(statement string, data []byte, settings map[string]string) ([]byte, error) {
	values := url.Values{"database": {e.database}, "default_format": {"Native"}, "client_protocol_version": {strconv.Itoa(revision)}, "wait_end_of_query": {"1"}}
	for name, value := range settings {
		values.Set(name, value)
	}
	body := []byte(statement)
	if data != nil {
		values.Set("query", statement)
		body = data
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+e.addr+"/?"+values.Encode(), bytes.NewReader(body)) //nolint:noctx // ends with the engine, and that with the test
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-ClickHouse-User", e.user)
	req.Header.Set("X-ClickHouse-Key", e.password)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return answer, nil
	}
	code, err := strconv.Atoi(res.Header.Get("X-ClickHouse-Exception-Code"))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", res.Status, answer)
	}
	return nil, &exception{code: code, text: strings.TrimSpace(string(answer))}
}

// header is a block without rows of the columns of a table that an insert fills: those listed, or all.
func (e engine) header(table string, listed []string) (*proto.Block, error) {
	body, err := e.send("DESCRIBE "+table, nil, nil) // its first three columns are name, type and kind of default
	if err != nil {
		return nil, err
	}
	described, err := decode(body)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	var all []string
	for _, b := range described {
		for i := range b.Rows() {
			name, typ, kind := b.Columns[0].Row(i, false).(string), b.Columns[1].Row(i, false).(string), b.Columns[2].Row(i, false).(string)
			if types[name] = typ; kind != "MATERIALIZED" && kind != "ALIAS" {
				all = append(all, name)
			}
		}
	}
	if len(listed) == 0 {
		listed = all
	}
	out := proto.NewBlock()
	for _, name := range listed {
		typ, ok := types[name]
		if !ok {
			text := fmt.Sprintf("Code: 16. DB::Exception: No such column %s in table %s. (NO_SUCH_COLUMN_IN_TABLE)", name, table)
			return nil, &exception{code: 16, text: text}
		}
		if err := out.AddColumn(name, column.Type(typ)); err != nil {
			return nil, err
		}
	}
	if !slices.Equal(out.ColumnsNames(), listed) {
		return nil, fmt.Errorf("header %v of %v", out.ColumnsNames(), listed)
	}
	return out, nil
}
