package slurm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Job is what a file says: one job's time on this node.
type Job struct {
	Version int    `json:"version"`
	ID      string `json:"job"`
	UID     string `json:"job_uid,omitempty"`
	User    string `json:"user,omitempty"`
	Account string `json:"account,omitempty"`
	// Partition, Name, Comment and Cluster are as Slurm has them.
	Partition string `json:"partition,omitempty"`
	Name      string `json:"job_name,omitempty"`
	Comment   string `json:"comment,omitempty"`
	Cluster   string `json:"cluster,omitempty"`
	// Start is when the prolog ran, End when the epilog did; 0 while the job runs. Limit is when Slurm would end it, 0 without.
	Start unit.Micros `json:"start_us"`
	End   unit.Micros `json:"end_us,omitempty"`
	Limit unit.Micros `json:"limit_us,omitempty"`
	// GPUs are numbers of device files, and UUIDs.
	GPUs []string `json:"gpus"`
}

// fileVersion is that of the form of a file.
const fileVersion = 1

// maxFile bounds a file: the texts in it are bounded when it is written.
const maxFile = 256 << 10

// ParseJob reads a file.
func ParseJob(data []byte) (Job, error) {
	var j Job
	if len(data) > maxFile {
		return j, fmt.Errorf("%d bytes are more than the %d that a job may have", len(data), maxFile)
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return Job{}, fmt.Errorf("not a job: %w", err)
	}
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if j.Version != fileVersion {
		bad("version is %d, not %d", j.Version, fileVersion)
	}
	if !plausibleID(j.ID) {
		bad("job is %q, which is no job id", j.ID)
	}
	if !plausible(j.Start) {
		bad("start_us is %d, which is not between the years 2000 and 2100", j.Start)
	}
	if j.End != 0 && (!plausible(j.End) || j.End <= j.Start) {
		bad("end_us is %d, which is not after start_us, %d", j.End, j.Start)
	}
	if j.Limit != 0 && !plausible(j.Limit) {
		bad("limit_us is %d, which is not between the years 2000 and 2100", j.Limit)
	}
	gpus, err := ParseGPUs(strings.Join(j.GPUs, ","))
	if err != nil {
		bad("gpus: %w", err)
	}
	if err == nil && len(gpus) == 0 {
		bad("gpus: empty")
	}
	j.GPUs = gpus
	if len(faults) > 0 {
		return Job{}, errors.Join(faults...)
	}
	return j, nil
}

func plausible(t unit.Micros) bool {
	return t >= 946_684_800_000_000 && t < 4_102_444_800_000_000
}

// plausibleID keeps a job id fit for the name of a file: 123, 123_4, 123+1.
func plausibleID(s string) bool {
	return len(s) > 0 && len(s) <= 40 && strings.Trim(s, "0123456789_+") == ""
}
