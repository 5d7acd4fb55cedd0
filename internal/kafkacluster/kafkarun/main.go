// Command kafkarun runs Apache Kafka on this machine until it is told to stop: `make kafka`. It is not installed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/wattledger/wattledger/internal/kafkacluster"
)

func main() {
	cfg := kafkacluster.DefaultConfig()
	flag.IntVar(&cfg.Brokers, "brokers", cfg.Brokers, "how many brokers")
	flag.IntVar(&cfg.Port, "port", 9092, "loopback port of the first broker; those of the others follow; 0 takes free ones")
	flag.IntVar(&cfg.HeapMiB, "heap", cfg.HeapMiB, "MiB of heap for each broker")
	flag.BoolVar(&cfg.Secure, "secure", false, "TLS, logins by SCRAM-SHA-512, ACLs")
	users := flag.String("users", "", "who may log in besides admin, with -secure, separated by commas")
	flag.StringVar(&cfg.Dir, "data", "", "folder that keeps the data; without it they go at the end")
	flag.Parse()
	if *users != "" {
		cfg.Users = strings.Split(*users, ",")
	}
	if err := run(cfg); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

func run(cfg kafkacluster.Config) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if cfg.Jars, err = kafkacluster.Installed(); err != nil {
		return err
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "wattledger-kafka-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
	} else if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return err
	}
	start, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := kafkacluster.Start(start, cfg)
	if err != nil {
		return err
	}
	conn := c.Conn(kafkacluster.Admin)
	fmt.Printf("kafka answers; data in %s, Ctrl-C ends it\n\nkafka:\n  brokers: [%s]\n", cfg.Dir, strings.Join(conn.Brokers, ", "))
	if cfg.Secure {
		fmt.Printf("  tls: {enabled: true, ca_file: %s}\n  sasl: {mechanism: %s, username: %s, password_file: %s}\n",
			conn.TLS.CAFile, conn.SASL.Mechanism, conn.SASL.Username, conn.SASL.PasswordFile)
	}
	<-ctx.Done()
	return c.Close()
}
