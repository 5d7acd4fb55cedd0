package main

import (
	"context"
	"time"

	"github.com/wattledger/wattledger/internal/process"
)

type replayCmd struct{}
type reportCmd struct{}
type importCmd struct{}

func (replayCmd) Run(env *process.Env) error { return nil }
func (reportCmd) Run(env *process.Env) error { return nil }
func (importCmd) Run(env *process.Env) error { return nil }

func (d *demo) report(ctx context.Context, s *stack, truth string) error {
	d.stage("total", d.began)
	return printJSON(d.env.Stdout, map[string]any{"sent": d.played.Sent, "wall": d.stages, "x": time.Now()})
}
