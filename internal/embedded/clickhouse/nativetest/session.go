package nativetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// revision is what we say we speak, and the newest that the block codec of the client library knows.
const revision = proto.DBMS_TCP_PROTOCOL_VERSION

// errCut says that the connection was ended on purpose.
var errCut = errors.New("acknowledgement cut on purpose")

// session is one connection.
type session struct {
	server   *Server
	conn     net.Conn
	in       *chproto.Reader
	out      *chproto.Buffer
	compress *compress.Writer
	revision int // of both sides
	engine   engine
}

func newSession(s *Server, conn net.Conn) *session {
	return &session{
		server: s, conn: conn, in: chproto.NewReader(conn), out: &chproto.Buffer{}, compress: compress.NewWriter(compress.LevelZero, compress.LZ4),
	}
}

// run ends with an error always: the client's going is one.
func (c *session) run() error {
	if err := c.hello(); err != nil {
		return err
	}
	for {
		code, err := c.in.UVarInt()
		if err != nil {
			return err
		}
		switch chproto.ClientCode(code) {
		case chproto.ClientCodePing:
			chproto.ServerCodePong.Encode(c.out)
		case chproto.ClientCodeQuery:
			if err := c.query(); err != nil {
				return err
			}
		case chproto.ClientCodeCancel:
		default:
			return fmt.Errorf("packet %d of a client in no query", code)
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
}

func (c *session) hello() error {
	code, err := c.in.UVarInt()
	if err != nil {
		return err
	}
	if chproto.ClientCode(code) != chproto.ClientCodeHello {
		return fmt.Errorf("packet %d before hello", code)
	}
	var hello chproto.ClientHello
	if err := hello.Decode(c.in); err != nil {
		return err
	}
	c.revision = min(hello.ProtocolVersion, revision)
	c.engine = engine{addr: c.server.engine.Addresses[0], user: hello.User, password: hello.Password, database: hello.Database}
	if _, err := c.engine.send("SELECT 1", nil, nil); err != nil { // wrong passwords and databases show at the hello
		c.exception(err)
		return c.flush()
	}
	us := chproto.ServerHello{Name: "ClickHouse", Major: 26, Minor: 5, Revision: revision, Timezone: "UTC", DisplayName: "nativetest", Patch: 3}
	us.EncodeAware(c.out, c.revision)
	if err := c.flush(); err != nil {
		return err
	}
	if chproto.FeatureAddendum.In(c.revision) {
		_, err = c.in.Str() // quota key
	}
	return err
}

var selectPattern = regexp.MustCompile(`(?i)^\s*(SELECT|WITH)\b`)

var insertPattern = regexp.MustCompile(`(?is)^\s*(INSERT\s+INTO\s+(?:TABLE\s+)?([^\s(]+)\s*(?:\(([^()]*)\))?)\s*(?:VALUES|FORMAT\s+(?:Native|Values))?\s*$`)

func (c *session) query() error {
	var q chproto.Query
	if err := q.DecodeAware(c.in, c.revision); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	compressed := q.Compression == chproto.CompressionEnabled
	external, err := c.data(compressed) // a block without columns ends the external tables
	if err != nil {
		return err
	}
	if len(external.Columns) > 0 {
		return errors.New("external tables are not served here")
	}
	settings := map[string]string{}
	for _, s := range q.Settings {
		settings[s.Key] = s.Value
	}
	for _, p := range q.Parameters {
		settings["param_"+p.Key] = unquote(p.Value)
	}
	if m := insertPattern.FindStringSubmatch(q.Body); m != nil {
		return c.insert(m[1], m[2], m[3], settings, compressed)
	}
	body, err := c.engine.send(q.Body, nil, settings)
	if err != nil {
		c.exception(err)
		return nil
	}
	blocks, err := decode(body)
	if err != nil {
		return fmt.Errorf("answer to %s: %w", q.Body, err)
	}
	if len(blocks) == 0 && selectPattern.MatchString(q.Body) { // a server sends the columns even where there is no row
		header, err := c.engine.header("("+q.Body+")", nil)
		if err != nil {
			c.exception(err)
			return nil
		}
		blocks = []*proto.Block{header}
	}
	for _, b := range blocks {
		if err := c.send(b, compressed); err != nil {
			return err
		}
	}
	chproto.ServerCodeEndOfStream.Encode(c.out)
	return nil
}

// insert tells the client which columns the table has, takes its blocks and hands them on as one insert.
func (c *session) insert(statement, table, list string, settings map[string]string, compressed bool) error {
	header, err := c.engine.header(table, names(list))
	if err != nil {
		c.exception(err)
		return nil
	}
	chproto.TableColumns{Second: describe(header)}.EncodeAware(c.out, c.revision)
	if err := c.send(header, compressed); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	in := Insert{Statement: statement, Compressed: compressed, Settings: settings}
	var body chproto.Buffer
	for {
		block, err := c.data(compressed)
		if err != nil {
			return err
		}
		if len(block.Columns) == 0 {
			break
		}
		if !slices.Equal(block.ColumnsNames(), header.ColumnsNames()) {
			return fmt.Errorf("%s: block with columns %v, asked for %v", statement, block.ColumnsNames(), header.ColumnsNames())
		}
		for i, col := range block.Columns {
			if col.Type() != header.Columns[i].Type() {
				return fmt.Errorf("%s: column %s came as %s, asked for as %s", statement, col.Name(), col.Type(), header.Columns[i].Type())
			}
		}
		in.Blocks++
		in.Rows += block.Rows()
		if err := block.Encode(&body, 0); err != nil {
			return err
		}
	}
	if in.Rows > 0 {
		if _, err := c.engine.send(statement+" FORMAT Native", body.Buf, settings); err != nil {
			c.exception(err)
			return nil
		}
		if c.server.note(in) {
			return errCut
		}
	}
	chproto.ServerCodeProgress.Encode(c.out)
	chproto.Progress{WroteRows: uint64(in.Rows)}.EncodeAware(c.out, c.revision)
	chproto.ServerCodeEndOfStream.Encode(c.out)
	return nil
}

// data reads one data packet of the client.
func (c *session) data(compressed bool) (*proto.Block, error) {
	code, err := c.in.UVarInt()
	if err != nil {
		return nil, err
	}
	if chproto.ClientCode(code) != chproto.ClientCodeData {
		return nil, fmt.Errorf("packet %d where data belongs", code)
	}
	if _, err := c.in.Str(); err != nil { // name of an external table
		return nil, err
	}
	if compressed {
		c.in.EnableCompression()
		defer c.in.DisableCompression()
	}
	block := proto.NewBlock()
	if err := block.Decode(c.in, uint64(c.revision)); err != nil {
		return nil, fmt.Errorf("block: %w", err)
	}
	return block, nil
}

// send writes one data packet.
func (c *session) send(b *proto.Block, compressed bool) error {
	chproto.ServerCodeData.Encode(c.out)
	c.out.PutString("")
	at := len(c.out.Buf)
	if err := b.EncodeHeader(c.out, uint64(c.revision)); err != nil {
		return err
	}
	for i, col := range b.Columns {
		if b.Rows() == 0 { // the prefix of a serialisation comes with the first row only, which the client library's encoder overlooks
			c.out.PutString(col.Name())
			c.out.PutString(string(col.Type()))
			if c.revision >= proto.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
				c.out.PutBool(false)
			}
			continue
		}
		if err := b.EncodeColumn(c.out, uint64(c.revision), i); err != nil {
			return err
		}
	}
	if compressed {
		if err := c.compress.Compress(c.out.Buf[at:]); err != nil {
			return err
		}
		c.out.Buf = append(c.out.Buf[:at], c.compress.Data...)
	}
	return nil
}

func (c *session) exception(err error) {
	e := chproto.Exception{Code: 1002, Name: "DB::Exception", Message: err.Error()}
	var said *exception
	if errors.As(err, &said) {
		e.Code, e.Message = chproto.Error(said.code), strings.TrimPrefix(said.text, fmt.Sprintf("Code: %d. DB::Exception: ", said.code))
	}
	chproto.ServerCodeException.Encode(c.out)
	e.EncodeAware(c.out, c.revision)
}

func (c *session) flush() error {
	_, err := c.conn.Write(c.out.Buf)
	c.out.Reset()
	return err
}

// decode reads the blocks of an answer in Native of our revision.
func decode(body []byte) ([]*proto.Block, error) {
	var out []*proto.Block
	source := bytes.NewReader(body)
	r := chproto.NewReader(source)
	for {
		b := proto.NewBlock()
		err := b.Decode(r, revision)
		switch {
		case err == nil:
			out = append(out, b)
		case errors.Is(err, io.EOF):
			return out, nil
		default:
			return nil, err
		}
	}
}

// names splits a list of columns. Names with a comma in them are not served here.
func names(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.Trim(strings.TrimSpace(name), "`\""); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// describe is the description of the columns as a server sends it before the header of an insert (src/Storages/ColumnsDescription.cpp).
func describe(b *proto.Block) string {
	var out strings.Builder
	fmt.Fprintf(&out, "columns format version: 1\n%d columns:\n", len(b.Columns))
	for _, c := range b.Columns {
		fmt.Fprintf(&out, "`%s` %s\n", c.Name(), c.Type())
	}
	return out.String()
}

func unquote(s string) string {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "'"), "'")
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00").Replace(s)
}
