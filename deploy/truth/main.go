// Command truth plays random fleets and sets their ledgers against the truth.
//
// Each fleet draws power that is known exactly. It is sampled, with what befalls counters, meters and factors; its hours are
// closed with what was known by then, and what came late is booked as adjustments. Then the ledger is held against two things: an
// independent recomputation of the rules in rational arithmetic from the same samples, from which no figure may differ, and the
// power that was really drawn, which has to lie within the bounds that the ledger states. It ends with one line of JSON and
// fails when a limit is broken.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// limitPPM is how far a tenant's total may be from the truth where every second was read and nothing was lost.
const limitPPM = 20

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("truth", flag.ContinueOnError)
	flags.SetOutput(stderr)
	fleets := flags.Int("fleets", 600, "how many fleets to play")
	seed := flags.Uint64("seed", 1, "the first fleet's seed; the others follow it")
	workers := flags.Int("workers", 2, "how many fleets to play at a time")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: truth [-fleets N] [-seed N] [-workers N]\n\nExamples:\n  make truth\n  make truth ARGS='-fleets 20 -seed 7'")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *fleets < 1 || *workers < 1 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "truth: -fleets and -workers are at least 1, and there are no arguments besides flags")
		return 2
	}
	total, faults := play(*seed, *fleets, *workers, stderr)
	line, err := json.Marshal(total)
	if err != nil {
		fmt.Fprintln(stderr, "truth:", err)
		return 1
	}
	fmt.Fprintln(stdout, string(line))
	if len(faults) > 0 {
		for _, f := range faults[:min(len(faults), 20)] {
			fmt.Fprintln(stderr, "truth:", f)
		}
		return 1
	}
	return 0
}

// play proves fleets, several at a time, and sums what was found. It returns the limits that were broken, in words.
func play(seed uint64, fleets, workers int, progress io.Writer) (Total, []string) {
	var mu sync.Mutex // guards all below
	var total Total
	var faults []string
	began, shown := time.Now(), time.Now()
	next := make(chan uint64)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for s := range next {
				r, err := prove(s)
				mu.Lock()
				total.add(r)
				if err != nil {
					total.Failed++
					faults = append(faults, fmt.Sprintf("fleet of seed %d: %v", s, err))
				}
				faults = append(faults, r.faults()...)
				if time.Since(shown) > 2*time.Second {
					shown = time.Now()
					fmt.Fprintf(progress, "%d of %d fleets, %d entries, %d adjustments, %.0f s\n", total.Fleets, fleets, total.Entries,
						total.Adjustments, time.Since(began).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	for i := range uint64(fleets) {
		next <- seed + i
	}
	close(next)
	wg.Wait()
	return total, faults
}
