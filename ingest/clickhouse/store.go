package clickhouse

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/ingest/pipeline"
	"github.com/wattledger/wattledger/internal/chconn"
	schema "github.com/wattledger/wattledger/schemas/clickhouse"
)

// Store reaches the database whenever it is there. It may be used by many goroutines.
type Store struct {
	reach   func() (chconn.Config, error)
	inserts chan struct{} // a place for each insert under way, which bounds their memory
	bodies  sync.Pool     // of *[]byte
	seconds *prometheus.HistogramVec
	rows    *prometheus.CounterVec

	compacted *prometheus.CounterVec

	dialling chan struct{} // a place for the one who makes the connection

	mu   sync.Mutex
	conn *connection            // guarded by mu; nil while the database is not reached
	left map[repeatedKey]uint64 // guarded by mu; what the last compaction did not remove
}

// New is inert: nothing is dialled before the first call. reach says where the database is, and is asked again after
// every loss of the connection, because an embedded engine may come back on another port. At most inserts run at once.
func New(reach func() (chconn.Config, error), inserts int, reg prometheus.Registerer) *Store {
	s := &Store{
		reach: reach, inserts: make(chan struct{}, max(1, inserts)), dialling: make(chan struct{}, 1),
		bodies: sync.Pool{New: func() any { return new([]byte) }},
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wattledger_ingest_insert_seconds", Help: "Time of one insert, failed ones included.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}, []string{"table"}),
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wattledger_ingest_rows_total", Help: "Rows whose insert was acknowledged."}, []string{"table"}),
		compacted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wattledger_ingest_compacted_total", Help: "Rows removed that stood twice, as an insert of a process that was cut off leaves them.",
		}, []string{"table"}),
	}
	if reg != nil {
		reg.MustRegister(s.seconds, s.rows, s.compacted)
	}
	return s
}

// Close gives up the connection. Calls under way fail.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close()
}

// connection is a connection with the configuration it was made by.
type connection struct {
	driver.Conn
	cfg chconn.Config
}

func (s *Store) open(ctx context.Context) (*connection, error) {
	if conn := s.connected(); conn != nil {
		return conn, nil
	}
	select {
	case s.dialling <- struct{}{}:
		defer func() { <-s.dialling }()
	case <-ctx.Done():
		return nil, fmt.Errorf("the connection is being made: %w", ctx.Err())
	}
	if conn := s.connected(); conn != nil {
		return conn, nil // made meanwhile
	}
	cfg, err := s.reach()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	conn, err := chconn.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = &connection{conn, cfg}
	return s.conn, nil
}

func (s *Store) connected() *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// Check says whether the database has the schema that this program writes; schema.ErrVersion if not.
func (s *Store) Check(ctx context.Context) error {
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	err = schema.Check(ctx, func(ctx context.Context, query string) schema.Row { return conn.QueryRow(ctx, query) })
	s.lost(conn, err)
	return err
}

// lost forgets a connection whose error was not an answer of the server's.
func (s *Store) lost(conn *connection, err error) {
	if err == nil || chconn.Code(err) != 0 || errors.Is(err, schema.ErrVersion) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == conn {
		s.conn = nil
		_ = conn.Close() // it is of no use any more
	}
}

// InsertRows writes the rows of the entries [from, to) to their tables.
func (s *Store) InsertRows(ctx context.Context, b *pipeline.Batch, from, to int) error {
	entries := b.Entries[from:to]
	for _, part := range []struct {
		table string
		block *block
	}{
		{"samples", samplesBlock(b, entries)},
		{"incidents", incidentsBlock(rowsOf(b.Incidents, entries, func(e *pipeline.Entry) pipeline.Range { return e.Incidents }))},
		{"allocations", allocationsBlock(rowsOf(b.Allocations, entries, func(e *pipeline.Entry) pipeline.Range { return e.Allocations }))},
		{"readings", readingsBlock(rowsOf(b.Readings, entries, func(e *pipeline.Entry) pipeline.Range { return e.Readings }))},
		{"sites", sitesBlock(rowsOf(b.Sites, entries, func(e *pipeline.Entry) pipeline.Range { return e.Sites }))},
		{"nodes", nodesBlock(rowsOf(b.Nodes, entries, func(e *pipeline.Entry) pipeline.Range { return e.Nodes }))},
		{"devices", devicesBlock(rowsOf(b.Devices, entries, func(e *pipeline.Entry) pipeline.Range { return e.Devices }))},
		{"tenants", tenantsBlock(rowsOf(b.Tenants, entries, func(e *pipeline.Entry) pipeline.Range { return e.Tenants }))},
		{"stays", staysBlock(rowsOf(b.Stays, entries, func(e *pipeline.Entry) pipeline.Range { return e.Stays }))},
	} {
		if err := s.insert(ctx, part.table, part.block, token(b, part.table, entries)); err != nil {
			return err
		}
	}
	return nil
}

// rowsOf are the rows that entries of a batch brought to a table. They lie together; an entry that brought none, as a repeat
// does, says nothing about where.
func rowsOf[T any](all []T, entries []pipeline.Entry, of func(*pipeline.Entry) pipeline.Range) []T {
	var span pipeline.Range
	for i := range entries {
		switch r := of(&entries[i]); {
		case r.Len() == 0:
		case span.Len() == 0:
			span = r
		default:
			span.To = r.To
		}
	}
	return all[span.From:span.To]
}

// InsertMessages writes the gap records, then a line for each entry that is not refused.
func (s *Store) InsertMessages(ctx context.Context, b *pipeline.Batch) error {
	// Gap records first: once the lines stand, nobody looks at these messages again.
	if len(b.Gaps) > 0 {
		if err := s.insert(ctx, "incidents", gapsBlock(b.Topic, b.Gaps), gapsToken(b)); err != nil {
			return err
		}
	}
	var entries []pipeline.Entry
	for _, e := range b.Entries {
		if !e.Refused {
			entries = append(entries, e)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return s.insert(ctx, "messages", messagesBlock(b.Topic, entries), token(b, "messages", entries))
}

// gapsToken names an insert of gap records by all that is in them.
func gapsToken(b *pipeline.Batch) string {
	h := fnv.New128a()
	for _, g := range b.Gaps {
		fmt.Fprintf(h, "%q %q %d %+v\n", g.Run.Site, g.Run.Source, g.Received, g.Value)
	}
	return fmt.Sprintf("%s/%d/missing/%x", b.Topic, b.Partition, h.Sum(nil))
}

// token names an insert by what is in it: the offsets, and a hash over the identity and the number of rows of every
// message. Equal bytes have equal tokens, and an insert with one message more or less has another: a token that said
// only the range would make the engine drop rows that were left out the first time.
func token(b *pipeline.Batch, table string, entries []pipeline.Entry) string {
	h := fnv.New128a()
	var n [8]byte
	put := func(v uint64) {
		binary.LittleEndian.PutUint64(n[:], v)
		h.Write(n[:]) // a hash does not fail
	}
	for _, e := range entries {
		put(uint64(e.Message.Offset))
		put(uint64(e.Message.Received))
		put(e.Seq)
		put(uint64(e.Rows))
		put(uint64(e.Samples.Len()))
		put(uint64(e.Incidents.Len()))
		h.Write(e.Run.ID[:])
	}
	return fmt.Sprintf("%s/%d/%d-%d/%s/%x", b.Topic, b.Partition, entries[0].Message.Offset, entries[len(entries)-1].Message.Offset, table, h.Sum(nil))
}

func (s *Store) insert(ctx context.Context, table string, b *block, token string) error {
	if b.rows == 0 {
		return nil
	}
	select {
	case s.inserts <- struct{}{}:
		defer func() { <-s.inserts }()
	case <-ctx.Done():
		return ctx.Err()
	}
	conn, err := s.open(ctx)
	if err != nil {
		return err
	}
	room := s.bodies.Get().(*[]byte)
	body := b.body(room)
	defer func() {
		body.release()
		s.bodies.Put(room)
	}()

	names := make([]string, len(b.columns))
	for i, c := range b.columns {
		names[i] = "`" + c.name + "`"
	}
	settings := clickhouse.Settings{
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		// In a cluster the answer waits until the rows have reached their shard.
		"distributed_foreground_insert": 1,
		// A server that gathers inserts would merge ours with others', and know nothing of their tokens.
		"async_insert": 0,
	}
	data, compressed := conn.cfg.Compress(body)
	if compressed {
		settings["decompress"] = 1
	}
	start := time.Now()
	err = conn.InsertFormat(clickhouse.Context(ctx, clickhouse.WithSettings(settings)), "Native",
		fmt.Sprintf("INSERT INTO %s (%s)", table, strings.Join(names, ", ")), data)
	s.seconds.WithLabelValues(table).Observe(time.Since(start).Seconds())
	if err != nil {
		s.lost(conn, err)
		err = fmt.Errorf("insert %d rows into %s: %w", b.rows, table, err)
		if rowCodes[chconn.Code(err)] {
			return fmt.Errorf("%w: %w", pipeline.ErrRows, err)
		}
		return err
	}
	s.rows.WithLabelValues(table).Add(float64(b.rows))
	return nil
}

// rowCodes are the exceptions that say what is wrong with a row (src/Common/ErrorCodes.cpp). All others are about the
// server, the schema or the way there, and none of them is a reason to put a good message aside.
var rowCodes = map[int32]bool{
	6:   true, // CANNOT_PARSE_TEXT
	26:  true, // CANNOT_PARSE_QUOTED_STRING
	27:  true, // CANNOT_PARSE_INPUT_ASSERTION_FAILED
	38:  true, // CANNOT_PARSE_DATE
	41:  true, // CANNOT_PARSE_DATETIME
	69:  true, // ARGUMENT_OUT_OF_BOUND
	70:  true, // CANNOT_CONVERT_TYPE
	72:  true, // CANNOT_PARSE_NUMBER
	117: true, // INCORRECT_DATA
	131: true, // TOO_LARGE_STRING_SIZE
	321: true, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
	349: true, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	407: true, // DECIMAL_OVERFLOW
	469: true, // VIOLATED_CONSTRAINT
	691: true, // UNKNOWN_ELEMENT_OF_ENUM
}
