package clickhouse

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is libchdb's C interface, as far as we use it. Handles are opaque pointers into the library's own memory.
type library struct {
	setSignalHandlers func(int32)
	connect           func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	close             func(conn unsafe.Pointer)
	query             func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr) unsafe.Pointer
	queryParams       func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) unsafe.Pointer
	stream            func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr) unsafe.Pointer
	streamParams      func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) unsafe.Pointer
	fetch             func(conn, result unsafe.Pointer) unsafe.Pointer
	cancel            func(conn, result unsafe.Pointer)
	destroy           func(result unsafe.Pointer)
	buffer            func(result unsafe.Pointer) unsafe.Pointer
	length            func(result unsafe.Pointer) uintptr
	errorText         func(result unsafe.Pointer) unsafe.Pointer
	elapsed           func(result unsafe.Pointer) float64
	rows              func(result unsafe.Pointer) uint64
	bytes             func(result unsafe.Pointer) uint64
	storageRows       func(result unsafe.Pointer) uint64
	storageBytes      func(result unsafe.Pointer) uint64
	writtenRows       func(result unsafe.Pointer) uint64
	writtenBytes      func(result unsafe.Pointer) uint64
}

var (
	loadOnce sync.Mutex // guards loaded and loadedFrom: the library is loaded once and never unloaded
	loaded   *library
	// loadedFrom names the file, so that a second one is refused instead of mixed in.
	loadedFrom string
	// engineBusy is held while an engine lives: the library has one data path per process.
	engineBusy sync.Mutex
)

// load opens the library. It fails with one line that names the file.
func load(path string) (lib *library, err error) {
	loadOnce.Lock()
	defer loadOnce.Unlock()
	if loaded != nil {
		if loadedFrom != path {
			return nil, fmt.Errorf("load %s: this process already holds %s", path, loadedFrom)
		}
		return loaded, nil
	}
	// Every stored instant is UTC; the engine takes its zone from the environment of C, which Go's Setenv does not reach.
	var setenv func(name, value string, overwrite int32) int32
	purego.RegisterLibFunc(&setenv, purego.RTLD_DEFAULT, "setenv")
	if setenv("TZ", "UTC", 1) != 0 {
		return nil, errors.New("load libchdb: set TZ=UTC")
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w; it needs glibc and this machine's architecture (%s)", path, err, runtime.GOARCH)
	}
	lib = &library{}
	for _, f := range []struct {
		name string
		fn   any
	}{
		{"chdb_set_signal_handlers_enabled", &lib.setSignalHandlers},
		{"chdb_connect", &lib.connect},
		{"chdb_close_conn", &lib.close},
		{"chdb_query_n", &lib.query},
		{"chdb_query_with_params_n", &lib.queryParams},
		{"chdb_stream_query_n", &lib.stream},
		{"chdb_stream_query_with_params_n", &lib.streamParams},
		{"chdb_stream_fetch_result", &lib.fetch},
		{"chdb_stream_cancel_query", &lib.cancel},
		{"chdb_destroy_query_result", &lib.destroy},
		{"chdb_result_buffer", &lib.buffer},
		{"chdb_result_length", &lib.length},
		{"chdb_result_error", &lib.errorText},
		{"chdb_result_elapsed", &lib.elapsed},
		{"chdb_result_rows_read", &lib.rows},
		{"chdb_result_bytes_read", &lib.bytes},
		{"chdb_result_storage_rows_read", &lib.storageRows},
		{"chdb_result_storage_bytes_read", &lib.storageBytes},
		{"chdb_result_rows_written", &lib.writtenRows},
		{"chdb_result_bytes_written", &lib.writtenBytes},
	} {
		symbol, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("load %s: no function %s: not a libchdb 26, `make setup` installs one", path, f.name)
		}
		purego.RegisterFunc(f.fn, symbol)
	}
	// The engine's handlers for SIGSEGV and others would take the signals that Go's runtime lives by.
	lib.setSignalHandlers(0)
	loaded, loadedFrom = lib, path
	return lib, nil
}

// engine is the library with its one data path open.
type engine struct {
	lib  *library
	args []string
	root *session // keeps the engine alive between requests; kills queries
	mu   sync.Mutex
}

// openEngine starts the engine on the path that args name. Only one can be open in a process.
func openEngine(path string, args []string) (*engine, error) {
	lib, err := load(path)
	if err != nil {
		return nil, err
	}
	if !engineBusy.TryLock() {
		return nil, errors.New("open engine: this process already runs one; libchdb has one data path per process")
	}
	e := &engine{lib: lib, args: args}
	if e.root, err = e.session(); err != nil {
		engineBusy.Unlock()
		return nil, err
	}
	return e, nil
}

// close ends the engine. No session may be in use any more.
func (e *engine) close() {
	e.root.close()
	engineBusy.Unlock()
}

// session is one connection to the engine: one statement at a time, its own settings and temporary tables.
type session struct {
	lib  *library
	conn unsafe.Pointer // chdb_connection *
}

func (e *engine) session() (*session, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]unsafe.Pointer, len(e.args)+1)
	for i, arg := range e.args {
		b := append([]byte(arg), 0)
		pin.Pin(&b[0])
		argv[i] = unsafe.Pointer(&b[0])
	}
	pin.Pin(&argv[0])
	conn := e.lib.connect(int32(len(e.args)), unsafe.Pointer(&argv[0]))
	if conn == nil {
		return nil, errors.New("open engine: it does not start; its reason is on standard error, " +
			"and is most often a data directory written by a newer version or damaged metadata")
	}
	return &session{lib: e.lib, conn: conn}, nil
}

func (s *session) close() { s.lib.close(s.conn) }

// stats is what the engine counted while it ran a statement.
type stats struct {
	readRows, readBytes       uint64
	resultRows, resultBytes   uint64
	writtenRows, writtenBytes uint64
}

// params are values for {name:Type} in a statement, in ClickHouse's escaped text form, as HTTP brings them.
type params struct{ names, values []string }

// run executes one statement and hands its whole output to visit. The bytes are valid only during the call.
func (s *session) run(sql, format string, p params, visit func([]byte) error) (stats, error) {
	result := s.call(s.lib.query, s.lib.queryParams, sql, format, p)
	defer s.lib.destroy(result)
	if err := s.failure(result); err != nil {
		return stats{}, err
	}
	st := s.stats(result)
	out := s.output(result)
	if visit == nil || len(out) == 0 {
		return st, nil
	}
	return st, visit(out)
}

// stream executes one SELECT and hands over its output piece by piece, each a whole number of rows, so that
// the result is never in memory as a whole. An error of visit ends the query.
func (s *session) stream(sql, format string, p params, visit func([]byte, stats) error) error {
	// The engine keeps thread-local state from the start of a streamed query to its end.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	head := s.call(s.lib.stream, s.lib.streamParams, sql, format, p)
	defer s.lib.destroy(head)
	if err := s.failure(head); err != nil {
		return err
	}
	for {
		more, err := s.next(head, visit)
		if err != nil {
			s.lib.cancel(s.handle(), head)
			return err
		}
		if !more {
			return nil
		}
	}
}

func (s *session) next(head unsafe.Pointer, visit func([]byte, stats) error) (more bool, err error) {
	piece := s.lib.fetch(s.handle(), head)
	if piece == nil {
		return false, &Exception{Code: codeUnknown, Message: "the engine gave no result"}
	}
	defer s.lib.destroy(piece)
	if err := s.failure(piece); err != nil {
		return false, err
	}
	out := s.output(piece)
	if len(out) == 0 {
		return false, nil
	}
	return true, visit(out, s.stats(piece))
}

func (s *session) handle() unsafe.Pointer { return *(*unsafe.Pointer)(s.conn) }

type (
	plainCall  = func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr) unsafe.Pointer
	paramsCall = func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) unsafe.Pointer
)

func (s *session) call(plain plainCall, with paramsCall, sql, format string, p params) unsafe.Pointer {
	var pin runtime.Pinner
	defer pin.Unpin()
	bytesOf := func(text string) unsafe.Pointer {
		b := append([]byte(text), 0)
		pin.Pin(&b[0])
		return unsafe.Pointer(&b[0])
	}
	if len(p.names) == 0 {
		return plain(s.handle(), bytesOf(sql), uintptr(len(sql)), bytesOf(format), uintptr(len(format)))
	}
	array := func(texts []string) (pointers, lengths unsafe.Pointer) {
		ptrs, lens := make([]unsafe.Pointer, len(texts)), make([]uintptr, len(texts))
		for i, text := range texts {
			ptrs[i], lens[i] = bytesOf(text), uintptr(len(text))
		}
		pin.Pin(&ptrs[0])
		pin.Pin(&lens[0])
		return unsafe.Pointer(&ptrs[0]), unsafe.Pointer(&lens[0])
	}
	names, nameLens := array(p.names)
	values, valueLens := array(p.values)
	return with(s.handle(), bytesOf(sql), uintptr(len(sql)), bytesOf(format), uintptr(len(format)),
		names, nameLens, values, valueLens, uintptr(len(p.names)))
}

func (s *session) failure(result unsafe.Pointer) error {
	if result == nil {
		return &Exception{Code: codeUnknown, Message: "the engine gave no result"}
	}
	text := s.lib.errorText(result)
	if text == nil {
		return nil
	}
	n := 0
	for *(*byte)(unsafe.Add(text, n)) != 0 {
		n++
	}
	if n == 0 {
		return nil
	}
	return parseException(string(unsafe.Slice((*byte)(text), n)))
}

func (s *session) output(result unsafe.Pointer) []byte {
	n := s.lib.length(result)
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(s.lib.buffer(result)), n)
}

func (s *session) stats(result unsafe.Pointer) stats {
	return stats{
		readRows: s.lib.storageRows(result), readBytes: s.lib.storageBytes(result),
		resultRows: s.lib.rows(result), resultBytes: s.lib.bytes(result),
		writtenRows: s.lib.writtenRows(result), writtenBytes: s.lib.writtenBytes(result),
	}
}

// kill ends the statement whose session carries this mark, if it runs now.
func (e *engine) kill(mark string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.root.run("KILL QUERY WHERE Settings['log_comment'] = "+quote(mark)+" ASYNC", "TabSeparated", params{}, nil)
	return err
}
