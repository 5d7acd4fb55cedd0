// Package chconn is how any process of ours reaches ClickHouse: a server, a cluster or the embedded engine.
//
// It owns the connection's configuration and the difference between an error that passes and one that does not.
// It promises that a fault in the configuration or on the way is one line that says what was tried and how to mend it.
// Tables, statements and retries belong to its callers.
package chconn

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Open connects and asks the server once, so that a wrong address or password shows here and not at the first row.
// The caller closes the connection. Its InsertFormat takes the format Native over every protocol.
func Open(ctx context.Context, cfg Config) (driver.Conn, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return nil, cfg.explain(err)
	}
	if err := conn.Ping(ctx); err != nil {
		_ = conn.Close() // the ping's error says more
		return nil, cfg.explain(err)
	}
	if cfg.Protocol == "native" {
		return &native{conn}, nil
	}
	return conn, nil
}

// OpenDB is Open for database/sql, which migrations need.
func OpenDB(ctx context.Context, cfg Config) (*sql.DB, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	// The pool is database/sql's own there; clickhouse-go refuses to be told of a second one.
	open, idle, life := options.MaxOpenConns, options.MaxIdleConns, options.ConnMaxLifetime
	options.MaxOpenConns, options.MaxIdleConns, options.ConnMaxLifetime = 0, 0, 0
	db := clickhouse.OpenDB(options)
	db.SetMaxOpenConns(open)
	db.SetMaxIdleConns(idle)
	db.SetConnMaxLifetime(life)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close() // the ping's error says more
		return nil, cfg.explain(err)
	}
	return db, nil
}

// explain says in one line what was tried, and what a person can do about it.
func (c Config) explain(err error) error {
	hint := ""
	switch code := Code(err); {
	case code == codeUnknownDatabase:
		hint = fmt.Sprintf("; create the database, or run `wattledger migrate`, which does (database %q)", c.Database)
	case code == codeAuthFailed || code == codeRequiredPassword || code == codeWrongPassword:
		hint = fmt.Sprintf("; check username %q and password_file %q", c.Username, c.PasswordFile)
	case code != 0:
	case Temporary(err):
		hint = "; is the server running, and is the address right?"
	case strings.Contains(err.Error(), "x509"):
		hint = "; set tls.ca_file to the authority that signed the server's certificate"
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	return &connectError{
		text: fmt.Sprintf("connect to ClickHouse at %s://%s as %s: %s%s", c.Protocol, strings.Join(c.Addresses, ","), c.Username, text, hint),
		err:  err,
	}
}

// connectError keeps the cause for errors.As while its text stays on one line.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }
func (e *connectError) Unwrap() error { return e.err }
