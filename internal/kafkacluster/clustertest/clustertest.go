// Package clustertest gives a test an Apache Kafka of its own.
//
// It promises a cluster that ends with the test and leaves nothing behind, or a test that is skipped with the reason why.
// What a cluster is belongs to kafkacluster.
package clustertest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wattledger/wattledger/internal/kafkacluster"
)

// Start runs a cluster until the test ends; folder and jars are filled in.
func Start(t testing.TB, cfg kafkacluster.Config) *kafkacluster.Cluster {
	t.Helper()
	jars, err := kafkacluster.Installed()
	if errors.Is(err, kafkacluster.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	cfg.Jars, cfg.Dir = jars, t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c, err := kafkacluster.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}
