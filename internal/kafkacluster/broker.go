package kafkacluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/wattledger/wattledger/internal/kafkaconn"
)

// Broker is one of the cluster. Its methods are called by one goroutine at a time.
type Broker struct {
	cluster *Cluster
	id      int
	dir     string
	// addr is for clients, internal for brokers (where the cluster is secure), controller for the quorum.
	addr, internal, controller string

	process *os.Process
	ended   chan struct{} // closed when the process is gone
}

// Addr is where clients reach the broker.
func (b *Broker) Addr() string { return b.addr }

// Log is the file with what the broker says.
func (b *Broker) Log() string { return filepath.Join(b.dir, "log") }

// Kill ends the process as a loss of power would, and waits until it is gone.
func (b *Broker) Kill() { b.end(syscall.SIGKILL) }

// Stop asks the process to end, gives it 30 seconds, and waits until it is gone.
func (b *Broker) Stop() {
	timer := time.AfterFunc(30*time.Second, func() { _ = b.process.Kill() })
	defer timer.Stop()
	b.end(syscall.SIGTERM)
}

func (b *Broker) end(s os.Signal) {
	if b.process == nil {
		return
	}
	_ = b.process.Signal(s) // gone already
	<-b.ended
}

// Restart starts a broker that was killed or stopped, on its address and its data, and waits until it answers.
func (b *Broker) Restart(ctx context.Context) error {
	if err := b.launch(); err != nil {
		return err
	}
	return b.await(ctx)
}

// java is Kafka's class with its arguments.
func (b *Broker) java(heapMiB int, class string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{
		fmt.Sprintf("-Xmx%dm", heapMiB),
		// For a process that lives a minute: little to start, little memory.
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-XX:+ExitOnOutOfMemoryError",
		"-Djava.awt.headless=true",
		"-Djava.io.tmpdir=" + filepath.Join(b.dir, "tmp"), // libraries unpack themselves into it, and a kill leaves them
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", filepath.Join(b.cluster.cfg.Jars, "*"),
		class,
	}, args...)...)
}

// format prepares the data folder; a folder that is prepared stays as it is.
func (b *Broker) format(passwords map[string]string) error {
	file := filepath.Join(b.dir, "server.properties")
	if err := errors.Join(os.MkdirAll(filepath.Join(b.dir, "tmp"), 0o750), os.WriteFile(file, []byte(b.cluster.properties(b)), 0o600)); err != nil {
		return err
	}
	args := []string{"format", "--ignore-formatted", "--cluster-id", clusterID, "--config", file}
	for _, user := range b.cluster.cfg.users() {
		args = append(args, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", user, passwords[user]))
	}
	if out, err := b.java(64, "kafka.tools.StorageTool", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("prepare the folder of broker %d: %w: %s", b.id, err, out)
	}
	return nil
}

// launch starts the process.
func (b *Broker) launch() error {
	log, err := os.OpenFile(b.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	cmd := b.java(b.cluster.cfg.HeapMiB, "kafka.Kafka", filepath.Join(b.dir, "server.properties"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()
	started := make(chan error)
	ended := make(chan struct{})
	go func() {
		// The kernel ends the broker when the thread that started it ends, so that thread stays ours until then.
		runtime.LockOSThread()
		defer close(ended)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands in its log
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start broker %d: %w", b.id, err)
	}
	b.process, b.ended = cmd.Process, ended
	return nil
}

// await returns when the broker answers, which it does from when the cluster counts on it.
func (b *Broker) await(ctx context.Context) error {
	conn := b.cluster.Conn(Admin)
	conn.Brokers = []string{b.addr}
	conn.DialTimeout, conn.RequestTimeout = 2*time.Second, 5*time.Second
	for {
		err := kafkaconn.Ping(ctx, conn)
		if err == nil {
			return nil
		}
		select {
		case <-b.ended:
			return fmt.Errorf("broker %d ended before it answered: %s", b.id, b.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("broker %d does not answer: %w: %w: %s", b.id, ctx.Err(), err, b.lastWords())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// lastWords is the end of the broker's log.
func (b *Broker) lastWords() string {
	text, err := os.ReadFile(b.Log())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-4096):]))
}
