package clickhouse

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/ClickHouse/clickhouse-go/v2"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/aggregator/closing"
	"github.com/wattledger/wattledger/aggregator/ledger"
	"github.com/wattledger/wattledger/aggregator/series"
	"github.com/wattledger/wattledger/aggregator/window"
	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
)

// chunkRows is how many samples are in memory at once, for each of the queries that run side by side: 60 MiB of them. A chunk is whole
// devices.
const chunkRows = 1 << 20

// near is how far beyond the hour's end the next sample is sought at first: nearly every device has one there.
const near = 60 * unit.Second

// wanted is what the samples of a device are read for.
type wanted struct {
	series.Purpose
	// left is the first tick to read: before the hour for a device without a stored cut, and for the activity of instances.
	left unit.Micros
	// after is the tick of a sample far beyond the hour, which an open cut waits for; 0 for none.
	after unit.Micros
}

// gathered is what the samples of a site-hour came to.
type gathered struct {
	kept   map[string]series.Kept
	packed map[string]*packedSeries
	// digest is of the samples with a tick in the hour, rows how many there are.
	digest string
	rows   int64
	// at are the time stamps by tick of the GPUs whose instances are asked for: those of a node follow one another.
	at map[string]map[int64]unit.Micros
}

// packedSeries are the readings of a GPU in MIG mode or of one of its instances.
type packedSeries struct {
	*closing.Packed
	ticks  window.Packed // of the points
	period unit.Micros
}

// samples reads the samples of a site-hour, chunk by chunk, and keeps what closing needs.
func (s *Store) samples(ctx context.Context, site string, start, end unit.Micros, devices map[string]wanted) (gathered, error) {
	out := gathered{kept: map[string]series.Kept{}, packed: map[string]*packedSeries{}}
	chunks, err := s.chunks(ctx, site, start, end, devices)
	if err != nil {
		return out, err
	}
	results := make([]chunkResult, len(chunks))
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	// One more than processors: while one chunk is sorted and hashed here, the engine reads another.
	for range min(len(chunks), runtime.GOMAXPROCS(0)+1) {
		group.Go(func() error {
			r := newChunkReader()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(chunks) {
					return nil
				}
				var err error
				if results[i], err = r.read(ctx, s, site, start, end, chunks[i]); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return out, fmt.Errorf("read samples of %s: %w", site, err)
	}
	var leaves [][32]byte
	for _, r := range results {
		leaves = append(leaves, r.leaves...)
		out.rows += r.rows
		maps.Copy(out.kept, r.kept)
		maps.Copy(out.packed, r.packed)
	}
	root := ledger.RootHash(leaves)
	out.digest = hex.EncodeToString(root[:])
	return out, nil
}

// chunk is a stretch of devices in order of name.
type chunk struct {
	first, beyond string // the first device, and that of the next chunk; empty: no limit
	rows          int
	devices       map[string]wanted
}

// chunks cuts the devices of a site, those of the inventory and those that only have samples, into stretches of about chunkRows.
func (s *Store) chunks(ctx context.Context, site string, start, end unit.Micros, devices map[string]wanted) ([]chunk, error) {
	rows, err := s.conn.Query(with(ctx, "site", site, "start", start, "end", end),
		`SELECT device, toInt64(count()) FROM series WHERE site = {site:String}
		   AND tick >= fromUnixTimestamp64Micro({start:Int64}) AND tick < fromUnixTimestamp64Micro({end:Int64}) GROUP BY device`)
	if err != nil {
		return nil, fmt.Errorf("count samples of %s: %w", site, err)
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var device string
		var n int64
		if err := rows.Scan(&device, &n); err != nil {
			return nil, fmt.Errorf("count samples of %s: %w", site, err)
		}
		counts[device] = int(n)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count samples of %s: %w", site, err)
	}
	for d := range devices {
		counts[d] += 0
	}
	var out []chunk
	for i, d := range slices.Sorted(maps.Keys(counts)) {
		if last := len(out) - 1; last < 0 || out[last].rows+counts[d] > s.chunkRows {
			c := chunk{devices: map[string]wanted{}}
			if i > 0 {
				c.first, out[last].beyond = d, d
			}
			out = append(out, c)
		}
		c := &out[len(out)-1]
		c.rows += counts[d]
		if w, ok := devices[d]; ok {
			c.devices[d] = w
		}
	}
	return out, nil
}

// chunkReader reads one chunk after another into the same memory.
type chunkReader struct {
	rows    series.Rows
	spans   map[string][]series.Span
	ids     []series.Identity
	known   map[series.Identity]int32
	work    series.Workspace
	which   [4][]uint32 // of a block: device, run, boot, driver
	source  []byte
	periods []byte
	epochs  []byte
	blocks  blocks
}

func newChunkReader() *chunkReader {
	return &chunkReader{known: map[series.Identity]int32{}, blocks: blocks{r: bufio.NewReaderSize(nil, 1<<18)}}
}

type chunkResult struct {
	kept   map[string]series.Kept
	packed map[string]*packedSeries
	leaves [][32]byte
	rows   int64
}

func (r *chunkReader) read(ctx context.Context, s *Store, site string, start, end unit.Micros, c chunk) (chunkResult, error) {
	r.rows.Resize(c.rows + c.rows/16 + 1<<16) // what is near the hour's end comes on top
	r.rows.Resize(0)
	clear(r.known)
	r.ids, r.spans = r.ids[:0], map[string][]series.Span{}
	params := []any{"site", site, "first", c.first, "beyond", c.beyond, "start", start, "end", end + near}
	if err := r.query(with(ctx, params...), s, `device >= {first:String} AND ({beyond:String} = '' OR device < {beyond:String})
		AND tick >= fromUnixTimestamp64Micro({start:Int64}) AND tick < fromUnixTimestamp64Micro({end:Int64})`); err != nil {
		return chunkResult{}, err
	}
	if err := r.before(ctx, s, site, start, c); err != nil {
		return chunkResult{}, err
	}
	if err := r.beyond(ctx, s, site, end, c); err != nil {
		return chunkResult{}, err
	}
	if err := r.after(ctx, s, site, c); err != nil {
		return chunkResult{}, err
	}
	out := chunkResult{kept: map[string]series.Kept{}, packed: map[string]*packedSeries{}}
	for _, device := range slices.Sorted(maps.Keys(r.spans)) {
		sorted := r.work.Sort(&r.rows, r.spans[device], r.ids)
		if in := sorted.Within(start, end); in.To > in.From {
			out.leaves = append(out.leaves, sorted.Leaf(device, in))
			out.rows += int64(in.To - in.From)
		}
		w, ok := c.devices[device]
		if !ok {
			continue // not of the inventory: named by the digest, and of no account
		}
		w.From = w.left
		k := sorted.Keep(w.Purpose)
		if w.All {
			out.packed[device] = &packedSeries{Packed: closing.Pack(k.Points, k.Work), ticks: window.Pack(k.Ticks), period: k.Period}
			continue
		}
		out.kept[device] = k
	}
	return out, nil
}

// before reads what lies before the hour, for those devices that need it.
func (r *chunkReader) before(ctx context.Context, s *Store, site string, start unit.Micros, c chunk) error {
	var list []string
	from := start
	for _, d := range slices.Sorted(maps.Keys(c.devices)) {
		if w := c.devices[d]; w.left < start {
			list, from = append(list, d), min(from, w.left)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return r.query(with(ctx, "site", site, "devices", array(list), "from", from, "start", start), s,
		`device IN {devices:Array(String)} AND tick >= fromUnixTimestamp64Micro({from:Int64}) AND tick < fromUnixTimestamp64Micro({start:Int64})`)
}

// beyond reads further beyond the hour, for those devices of which nothing was read near its end.
func (r *chunkReader) beyond(ctx context.Context, s *Store, site string, end unit.Micros, c chunk) error {
	var list []string
	for _, d := range slices.Sorted(maps.Keys(c.devices)) {
		if !r.seenFrom(d, int64(end)) {
			list = append(list, d)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return r.query(with(ctx, "site", site, "devices", array(list), "from", end+near, "to", end+Lookahead), s,
		`device IN {devices:Array(String)} AND tick >= fromUnixTimestamp64Micro({from:Int64}) AND tick < fromUnixTimestamp64Micro({to:Int64})`)
}

// after reads the samples that open cuts wait for. Of a device that was read sooner, closing looks at that.
func (r *chunkReader) after(ctx context.Context, s *Store, site string, c chunk) error {
	byTick := map[unit.Micros][]string{}
	for _, d := range slices.Sorted(maps.Keys(c.devices)) {
		if t := c.devices[d].after; t != 0 {
			byTick[t] = append(byTick[t], d)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(byTick)) {
		err := r.query(with(ctx, "site", site, "devices", array(byTick[t]), "tick", t), s,
			`device IN {devices:Array(String)} AND tick = fromUnixTimestamp64Micro({tick:Int64})`)
		if err != nil {
			return err
		}
	}
	return nil
}

// seenFrom says whether a sample of the device counts at or after an instant.
func (r *chunkReader) seenFrom(device string, t int64) bool {
	for _, span := range r.spans[device] {
		for i := span.To - 1; i >= span.From && r.rows.Cols[series.Tick][i] >= t; i-- {
			at := r.rows.Cols[series.At][i]
			if r.ids[r.rows.Who[i]].Source == record.EnergyNone {
				at = r.rows.Cols[series.Tick][i]
			}
			if at >= t && (r.rows.Cols[series.Energy][i] != series.Absent || r.ids[r.rows.Who[i]].Source == record.EnergyNone) {
				return true
			}
		}
	}
	return false
}

// columnsSQL are the columns in the order in which block takes them.
const columnsSQL = `SELECT device, run, boot, driver, source, period_ms, epoch, tick,
	energy_ts, energy_mj, power_integral_mj, sm_active_us, ticks_expected, ticks_read FROM series WHERE site = {site:String} AND `

// query adds the samples of a query. One thread reads them in the order of the table; other chunks are read beside it.
func (r *chunkReader) query(ctx context.Context, s *Store, where string) (err error) {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1, "preferred_block_size_bytes": 16 << 20}))
	stream, err := s.conn.QueryFormat(ctx, "Native", columnsSQL+where)
	if errors.Is(err, clickhouse.ErrFormatNativeUnsupported) {
		return r.scan(ctx, s, where)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	b := &r.blocks
	b.r.Reset(stream)
	for {
		if err := b.next(7 + series.Columns); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := r.block(b); err != nil {
			return err
		}
	}
}

func (r *chunkReader) block(b *blocks) error {
	at := r.rows.Len()
	n := b.rows
	r.rows.Resize(at + n)
	var words [4][]string
	for i := range words {
		r.which[i] = slices.Grow(r.which[i][:0], n)[:n]
		var err error
		if words[i], err = b.words(r.which[i]); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		typ  string
		size int
		to   *[]byte
	}{{"Int8", 1, &r.source}, {"UInt32", 4, &r.periods}, {"Int32", 4, &r.epochs}} {
		p, err := b.fixed(c.typ, c.size)
		if err != nil {
			return err
		}
		*c.to = append((*c.to)[:0], p...)
	}
	for c := range series.Columns {
		typ := "Int64"
		if c == series.Tick {
			typ = "DateTime64(6, 'UTC')"
		}
		if err := b.integers(typ, r.rows.Cols[c][at:]); err != nil {
			return err
		}
	}
	r.identify(at, n, words)
	return nil
}

// identify gives each row of a block its identity and adds the spans of its devices.
func (r *chunkReader) identify(at, n int, words [4][]string) {
	device, run, boot, driver := r.which[0], r.which[1], r.which[2], r.which[3]
	var who int32
	begun := 0
	for i := range n {
		if i == 0 || run[i] != run[i-1] || boot[i] != boot[i-1] || driver[i] != driver[i-1] || r.source[i] != r.source[i-1] ||
			word(r.periods, i) != word(r.periods, i-1) || word(r.epochs, i) != word(r.epochs, i-1) {
			who = r.identity(series.Identity{
				Run: words[1][run[i]], Boot: words[2][boot[i]], Driver: words[3][driver[i]], Source: record.EnergySource(r.source[i]),
				Period: unit.Micros(word(r.periods, i)) * unit.Millisecond, Epoch: int64(int32(word(r.epochs, i))),
			})
		}
		r.rows.Who[at+i] = who
		if i > 0 && device[i] != device[i-1] {
			r.span(words[0][device[begun]], at+begun, at+i)
			begun = i
		}
	}
	r.span(words[0][device[begun]], at+begun, at+n)
}

func word(p []byte, i int) uint32 { return binary.LittleEndian.Uint32(p[4*i:]) }

func (r *chunkReader) identity(id series.Identity) int32 {
	k, ok := r.known[id]
	if !ok {
		k = int32(len(r.ids))
		r.ids = append(r.ids, id)
		r.known[id] = k
	}
	return k
}

// span adds rows of a device, which go on where its last ones end or begin anew.
func (r *chunkReader) span(device string, from, to int) {
	spans := r.spans[device]
	if n := len(spans); n > 0 && spans[n-1].To == from && r.rows.Cols[series.Tick][from-1] <= r.rows.Cols[series.Tick][from] {
		spans[n-1].To = to
		return
	}
	r.spans[device] = append(spans, series.Span{From: from, To: to})
}

// scan is query over the native protocol, where the client hands over rows and not bytes: the same, and slower.
func (r *chunkReader) scan(ctx context.Context, s *Store, where string) error {
	rows, err := s.conn.Query(ctx, `SELECT device, run, boot, driver, source, period_ms, epoch, toUnixTimestamp64Micro(tick),
		energy_ts, energy_mj, power_integral_mj, sm_active_us, ticks_expected, ticks_read FROM series WHERE site = {site:String} AND `+where)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var device string
		var id series.Identity
		var source int8
		var period uint32
		var epoch int32
		var v [series.Columns]int64
		if err := rows.Scan(&device, &id.Run, &id.Boot, &id.Driver, &source, &period, &epoch, &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6]); err != nil {
			return err
		}
		id.Source, id.Period, id.Epoch = record.EnergySource(source), unit.Micros(period)*unit.Millisecond, int64(epoch)
		at := r.rows.Len()
		r.rows.Resize(at + 1)
		for c := range v {
			r.rows.Cols[c][at] = v[c]
		}
		r.rows.Who[at] = r.identity(id)
		r.span(device, at, at+1)
	}
	return rows.Err()
}

// give hands a device its readings.
func (g *gathered) give(d *closing.Device) {
	if p := g.packed[d.UUID]; p != nil {
		d.Packed, d.Period = p.Packed, p.period
		if d.Kind == record.KindMIG {
			d.Packed = closing.Pack(nil, g.onParent(p, d.Parent))
		}
		return
	}
	k := g.kept[d.UUID]
	d.Points, d.Work, d.Period = k.Points, k.Work, k.Period
}

// maxParents is more GPUs than most nodes have.
const maxParents = 16

// onParent puts a MIG instance's counters at the energy time stamps of its GPU: both were read at the same tick.
func (g *gathered) onParent(instance *packedSeries, gpu string) []closing.Work {
	parent := g.packed[gpu]
	if parent == nil {
		return nil
	}
	at, ok := g.at[gpu]
	if !ok {
		if at = map[int64]unit.Micros{}; len(g.at) >= maxParents || g.at == nil {
			g.at = map[string]map[int64]unit.Micros{}
		}
		g.at[gpu] = at
		points := parent.Points()
		for i, tick := range parent.ticks.List() {
			at[tick] = points[i].T
		}
	}
	var out []closing.Work
	for _, w := range instance.Work() {
		if t, ok := at[int64(w.T)]; ok {
			w.T = t
			out = append(out, w)
		}
	}
	return out
}
