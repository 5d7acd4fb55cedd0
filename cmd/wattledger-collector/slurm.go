package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/wattledger/wattledger/collector/slurm"
	"github.com/wattledger/wattledger/internal/process"
)

type slurmCommand struct {
	Prolog prologCommand `cmd:"" help:"Note that a job has got its GPUs. Ends with 0 whatever happens: a prolog that fails drains the node."`
	Epilog epilogCommand `cmd:"" help:"Note that a job has given its GPUs back. Ends with 0 whatever happens."`
}

// hookFlags say where the notes go.
type hookFlags struct {
	Directory        string `help:"Where the collector looks for them." default:"${jobs_directory}" placeholder:"DIR"`
	MappingDirectory string `help:"Keep dcgm-exporter's job-mapping directory up to date as well." placeholder:"DIR"`
}

type prologCommand struct{ hookFlags }

type epilogCommand struct{ hookFlags }

func (h hookFlags) hook() slurm.Hook {
	return slurm.Hook{Directory: h.Directory, MappingDirectory: h.MappingDirectory, Environ: os.Environ(), Now: time.Now(), Proc: "/proc"}
}

// Run is Slurm's Prolog.
func (c *prologCommand) Run(_ context.Context, env *process.Env) error {
	return told(env, "prolog", c.hook().Prolog())
}

// Run is Slurm's Epilog.
func (c *epilogCommand) Run(_ context.Context, env *process.Env) error {
	return told(env, "epilog", c.hook().Epilog())
}

// told says what went wrong where slurmd logs it, and is never an error.
func told(env *process.Env, hook string, err error) error {
	if err != nil {
		fmt.Fprintf(env.Stderr, "wattledger-collector slurm %s: %v\n", hook, err)
	}
	return nil
}
