package chconn

import (
	"context"
	"errors"
	"fmt"
	"io"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// native is a connection over the native protocol that takes InsertFormat, as one over HTTP does, so that whoever has rows
// in ClickHouse's Native format need not know how they travel. The client library has it over HTTP only.
type native struct{ driver.Conn }

// InsertFormat sends one block of the Native format without a protocol revision: number of columns, number of rows, then
// name, type and values of each column. It stays one block, and so one insert. The server says which types its columns have;
// where they are those of the block, values are copied as bytes, and else converted one by one, which is slow.
func (n *native) InsertFormat(ctx context.Context, format, query string, data io.Reader) error {
	if format != "Native" {
		return fmt.Errorf("insert in format %s: the native protocol carries the format Native only; set protocol to http or https", format)
	}
	batch, err := n.PrepareBatch(ctx, query)
	if err != nil {
		return err
	}
	if err := decodeBlock(chproto.NewReader(data), batch.Columns()); err != nil {
		_ = batch.Abort() // ends the connection: the server drops what it has of the insert, which is nothing
		return fmt.Errorf("encode rows for %s: %w", query, err)
	}
	return batch.Send()
}

// decodeBlock fills the columns that the server asked for with those of the block, which may come in another order.
func decodeBlock(r *chproto.Reader, into []column.Interface) error {
	columns, err := r.UVarInt()
	if err != nil {
		return err
	}
	rows, err := r.UVarInt()
	if err != nil {
		return err
	}
	if columns != uint64(len(into)) {
		return fmt.Errorf("the block has %d columns, the server asked for %d", columns, len(into))
	}
	wanted := make(map[string]column.Interface, len(into))
	for _, c := range into {
		wanted[c.Name()] = c
	}
	for range into {
		name, err := r.Str()
		if err != nil {
			return err
		}
		typ, err := r.Str()
		if err != nil {
			return err
		}
		c := wanted[name]
		if c == nil {
			return fmt.Errorf("the block has a column %s that the server did not ask for, or twice", name)
		}
		delete(wanted, name)
		if err := decodeColumn(r, c, typ, int(rows)); err != nil {
			return fmt.Errorf("column %s, %s in the block and %s in the table: %w", name, typ, c.Type(), err)
		}
	}
	return nil
}

func decodeColumn(r *chproto.Reader, into column.Interface, typ string, rows int) error {
	if typ == string(into.Type()) {
		return decodeValues(r, into, rows)
	}
	// The table has other types than the program knows: a schema one version newer, or an array whose words the block spells out.
	from, err := column.Type(typ).Column(into.Name(), &column.ServerContext{})
	if err != nil {
		return err
	}
	if from.ScanType() != into.ScanType() { // AppendRow panics on some of these
		return errors.New("the client does not convert between these types")
	}
	if err := decodeValues(r, from, rows); err != nil {
		return err
	}
	for i := range rows {
		if err := into.AppendRow(from.Row(i, false)); err != nil {
			return err
		}
	}
	return nil
}

func decodeValues(r *chproto.Reader, c column.Interface, rows int) error {
	if prefixed, ok := c.(column.CustomSerialization); ok {
		if err := prefixed.ReadStatePrefix(r); err != nil {
			return err
		}
	}
	return c.Decode(r, rows)
}
