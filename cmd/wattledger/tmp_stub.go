package main

import (
	"github.com/wattledger/wattledger/internal/process"
)

type replayCmd struct{}
type reportCmd struct{}
type importCmd struct{}

func (replayCmd) Run(env *process.Env) error { return nil }
func (reportCmd) Run(env *process.Env) error { return nil }
func (importCmd) Run(env *process.Env) error { return nil }
