package clickhouse

import (
	"fmt"
	"testing"

	"github.com/wattledger/wattledger/internal/chconn"
	"github.com/wattledger/wattledger/internal/embedded/clickhouse/chtest"
)

// A dictionary's indexes have one, two or four bytes, by its size.
func TestWordsOfEveryWidth(t *testing.T) {
	conn, err := chconn.Open(t.Context(), chtest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(t.Context(), "CREATE TABLE words (n UInt64, w LowCardinality(String), l Array(LowCardinality(String))) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 254, 255, 256, 257, 65_534, 65_535, 65_536, 65_537} {
		if err := conn.Exec(t.Context(), "TRUNCATE TABLE words"); err != nil {
			t.Fatal(err)
		}
		rows := size + 3 // some words twice
		b := &block{rows: rows}
		n, w, l := make(fixed[uint64], rows), words{}, make(lists, rows)
		for i := range size {
			w.dictionary = append(w.dictionary, fmt.Sprint("word ", i))
		}
		for i := range rows {
			n[i], w.index = uint64(i), append(w.index, uint32(i%size))
			for k := range i % 3 {
				l[i] = append(l[i], fmt.Sprint(i, k))
			}
		}
		b.add("n", "UInt64", n)
		b.add("w", word, w)
		b.add("l", "Array(String)", l)
		if err := conn.InsertFormat(t.Context(), "Native", "INSERT INTO words (n, w, l)", b.body(new([]byte))); err != nil {
			t.Fatalf("%d words: %v", size, err)
		}
		var good uint64
		if err := conn.QueryRow(t.Context(), `SELECT countIf(w = concat('word ', toString(n % ?)) AND l = arrayMap(k -> concat(toString(n), ' ', toString(k)), range(n % 3)))
			FROM words`, uint64(size)).Scan(&good); err != nil {
			t.Fatal(err)
		}
		if good != uint64(rows) {
			t.Errorf("%d words: %d of %d rows came back as they were sent", size, good, rows)
		}
	}
}
