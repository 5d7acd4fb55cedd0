//go:build bench

package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/wattledger/wattledger/internal/embedded/clickhouse"
)

// The engine as shipped takes no ENGINE = Kafka, which reaches outside its folder. So this test's own program, started anew
// with the role engine, loads the same library without that wall and takes statements on its standard input.

// answer is what a statement gave: its output as TabSeparated, or why it failed.
type answer struct{ Output, Error string }

// engineRole is the process: a statement a line in JSON on in, an answer a line on out.
func engineRole(dir string, in io.Reader, out io.Writer) error {
	query, err := openEngine(dir)
	if err != nil {
		return err
	}
	statements, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var sql string
		if err := statements.Decode(&sql); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		if a.Output, err = query(sql); err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

const engineXML = `<clickhouse>
	<mark_cache_size>67108864</mark_cache_size>
	<users_config>%[1]s/users.xml</users_config>
	<background_message_broker_schedule_pool_size>4</background_message_broker_schedule_pool_size>
</clickhouse>
`

// The profile is the shipped engine's, but for its limits of what may be read and written.
const engineUsersXML = `<clickhouse>
	<profiles><default>
		<query_profiler_real_time_period_ns>0</query_profiler_real_time_period_ns>
		<query_profiler_cpu_time_period_ns>0</query_profiler_cpu_time_period_ns>
	</default></profiles>
	<quotas><default></default></quotas>
	<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default></users>
</clickhouse>
`

// openEngine loads libchdb on a folder and returns how to run a statement.
func openEngine(dir string) (func(sql string) (string, error), error) {
	for name, text := range map[string]string{"config.xml": fmt.Sprintf(engineXML, dir), "users.xml": engineUsersXML} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "store", "metadata"), 0o700); err != nil {
		return nil, err
	}
	path, err := clickhouse.FindLibrary("")
	if err != nil {
		return nil, err
	}
	var setenv func(name, value string, overwrite int32) int32
	purego.RegisterLibFunc(&setenv, purego.RTLD_DEFAULT, "setenv")
	setenv("TZ", "UTC", 1)
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	var (
		signals   func(int32)
		connect   func(argc int32, argv unsafe.Pointer) *unsafe.Pointer
		query     func(conn unsafe.Pointer, sql, format string) unsafe.Pointer
		destroy   func(unsafe.Pointer)
		buffer    func(unsafe.Pointer) unsafe.Pointer
		length    func(unsafe.Pointer) uintptr
		errorText func(unsafe.Pointer) string
	)
	purego.RegisterLibFunc(&signals, handle, "chdb_set_signal_handlers_enabled")
	purego.RegisterLibFunc(&connect, handle, "chdb_connect")
	purego.RegisterLibFunc(&query, handle, "chdb_query")
	purego.RegisterLibFunc(&destroy, handle, "chdb_destroy_query_result")
	purego.RegisterLibFunc(&buffer, handle, "chdb_result_buffer")
	purego.RegisterLibFunc(&length, handle, "chdb_result_length")
	purego.RegisterLibFunc(&errorText, handle, "chdb_result_error")
	signals(0)
	args := []string{"clickhouse", "--config-file=" + filepath.Join(dir, "config.xml"), "--path=" + filepath.Join(dir, "store")}
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]unsafe.Pointer, len(args)+1)
	for i, arg := range args {
		b := append([]byte(arg), 0)
		pin.Pin(&b[0])
		argv[i] = unsafe.Pointer(&b[0])
	}
	pin.Pin(&argv[0])
	conn := connect(int32(len(args)), unsafe.Pointer(&argv[0]))
	if conn == nil {
		return nil, errors.New("libchdb does not start; its reason is above")
	}
	return func(sql string) (string, error) {
		result := query(*conn, sql, "TabSeparated")
		defer destroy(result)
		if text := errorText(result); text != "" {
			return "", errors.New(text)
		}
		return string(unsafe.Slice((*byte)(buffer(result)), length(result))), nil
	}, nil
}

// bareEngine is the process seen from outside.
type bareEngine struct {
	*program
	dir    string
	mu     sync.Mutex // one statement at a time
	in     *json.Encoder
	answer *json.Decoder
}

func startBareEngine(t testing.TB) *bareEngine {
	t.Helper()
	dir := t.TempDir()
	e := &bareEngine{dir: dir}
	e.program = newProgram(t, os.Args[0])
	e.cmd.Env = append(os.Environ(), roleVariable+"=engine", "BENCH_DIR="+dir, "WATTLEDGER_LIBCHDB="+library(t))
	e.cmd.Dir = dir // where the library looks for the schemas of formats, whatever format_schema_path says
	in, err := e.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	e.in, e.answer = json.NewEncoder(in), json.NewDecoder(out)
	e.end = func() { in.Close() }
	e.start(t)
	return e
}

// ask runs a statement and returns its output.
func (e *bareEngine) ask(t testing.TB, format string, args ...any) string {
	t.Helper()
	sql := fmt.Sprintf(format, args...)
	e.mu.Lock()
	defer e.mu.Unlock()
	var a answer
	if err := errors.Join(e.in.Encode(sql), e.answer.Decode(&a)); err != nil {
		t.Fatalf("the engine is gone: %v\n%s", err, e.log)
	}
	if a.Error != "" {
		t.Fatalf("%.300s: %s", sql, a.Error)
	}
	return a.Output
}

// library is the libchdb of the checkout.
func library(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "..", ".cache", "libchdb", "node_modules", "@chdb", "lib-linux-*", "libchdb.so"))
	if err != nil || len(found) == 0 {
		t.Fatal("no libchdb under .cache/libchdb; run `make setup`")
	}
	path, err := filepath.Abs(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}
