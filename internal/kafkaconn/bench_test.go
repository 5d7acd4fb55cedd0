package kafkaconn_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	embedded "github.com/wattledger/wattledger/internal/embedded/kafka"
	"github.com/wattledger/wattledger/internal/embedded/kafka/kafkatest"
	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// BenchmarkThrough sends messages of the collectors' size through the embedded broker and reads them back.
func BenchmarkThrough(b *testing.B) {
	conn := kafkatest.Start(b, embedded.Topic{Name: "t.v1", Partitions: 4})
	value := make([]byte, 64<<10)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		if i%2 == 0 { // compresses to about half
			value[i] = byte(r.Uint32())
		}
	}
	p, err := kafkaconn.NewProducer(conn, "t.v1", nil)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	g := kafkaconn.DefaultGroupConfig()
	g.Group, g.Topics = "g", []string{"t.v1"}
	ctx, cancel := context.WithCancel(b.Context())
	var got atomic.Int64
	c, err := kafkaconn.NewConsumer(conn, g, func(ctx context.Context, claim *kafkaconn.Claim) error {
		for {
			msgs, err := claim.Fetch(ctx, time.Second)
			if err != nil {
				return err
			}
			if err := claim.Commit(max(claim.Next(), claim.Committed())); err != nil {
				return err
			}
			if int(got.Add(int64(len(msgs)))) >= b.N {
				cancel()
			}
		}
	}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(value)))
	b.ResetTimer()
	const batch = 20
	for i := 0; i < b.N; i += batch {
		var msgs []kafka.Message
		for k := i; k < min(i+batch, b.N); k++ {
			msgs = append(msgs, kafka.Message{Key: []byte("node-" + strconv.Itoa(k%batch)), Value: value})
		}
		if err := p.Publish(b.Context(), msgs...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds()), "ms-to-produce")
	if err := c.Run(ctx); err != nil {
		b.Fatal(err)
	}
}
