// Package slurm says which job holds which device of this node.
//
// It owns the prolog and the epilog, which drop one small file per job and need no agent; the source that reads those files;
// and the source that reads dcgm-exporter's job-mapping directory instead. It promises that a hook is quick and touches
// nothing but files, that a file is whole or not there, that a job's numbers are those of device files and never indexes, and
// that a file is kept until what it says has been published. Who is billed for an account is left to collector/workload.
package slurm
