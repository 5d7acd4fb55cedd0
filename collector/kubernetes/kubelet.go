package kubernetes

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// kubelet asks the PodResources API. It is safe for concurrent use.
type kubelet struct {
	conn    *grpc.ClientConn
	client  podresources.PodResourcesListerClient
	timeout time.Duration
	noGet   atomic.Bool // an older kubelet, or its feature gate is off
	noAlloc atomic.Bool
}

// maxAnswer bounds an answer of the kubelet; the default of 4 MiB is met by nodes with many CPU ids per container.
const maxAnswer = 16 << 20

// newKubelet dials nothing yet. The connection is made anew by itself when the kubelet restarts.
func newKubelet(cfg Config) (*kubelet, error) {
	conn, err := grpc.NewClient("unix://"+cfg.Socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket that only root can open
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
	)
	if err != nil {
		return nil, fmt.Errorf("kubelet at %s: %w", cfg.Socket, err)
	}
	return &kubelet{conn: conn, client: podresources.NewPodResourcesListerClient(conn), timeout: cfg.Timeout}, nil
}

func (k *kubelet) list(ctx context.Context) ([]*podresources.PodResources, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	out, err := k.client.List(ctx, &podresources.ListPodResourcesRequest{})
	if err != nil {
		// Another kubelet may answer next: one that was upgraded can do what the last could not.
		k.noGet.Store(false)
		k.noAlloc.Store(false)
		return nil, fmt.Errorf("list pod resources of the kubelet: %w", err)
	}
	return out.GetPodResources(), nil
}

// get asks for one pod, where the kubelet can be asked so; else it lists and picks. nil is a pod that it does not know.
func (k *kubelet) get(ctx context.Context, namespace, name string) (*podresources.PodResources, error) {
	if !k.noGet.Load() {
		call, cancel := context.WithTimeout(ctx, k.timeout)
		defer cancel()
		out, err := k.client.Get(call, &podresources.GetPodResourcesRequest{PodName: name, PodNamespace: namespace})
		switch {
		case err == nil:
			return out.GetPodResources(), nil
		case status.Code(err) == codes.Unimplemented || gateOff(err):
			k.noGet.Store(true)
		case status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded || status.Code(err) == codes.Canceled:
			return nil, fmt.Errorf("get pod resources of %s/%s: %w", namespace, name, err)
		default:
			return nil, nil // the kubelet answers a pod that it does not know with an error of no particular code
		}
	}
	pods, err := k.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		if p.GetName() == name && p.GetNamespace() == namespace {
			return p, nil
		}
	}
	return nil, nil
}

// gateOff says that the kubelet has the call and refuses it: until 1.36 it stands behind a feature gate, and the
// refusal has no code of its own ("PodResources API Get method disabled").
func gateOff(err error) bool {
	return status.Code(err) == codes.Unknown && containsAll(status.Convert(err).Message(), "Get method", "disabled")
}

// replicas counts, for each device that its plugin has divided, into how many it did. It is nil where the kubelet does not tell.
func (k *kubelet) replicas(ctx context.Context) (map[string]int, error) {
	if k.noAlloc.Load() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	out, err := k.client.GetAllocatableResources(ctx, &podresources.AllocatableResourcesRequest{})
	if status.Code(err) == codes.Unimplemented || (err != nil && status.Code(err) == codes.Unknown) {
		k.noAlloc.Store(true)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("allocatable resources of the kubelet: %w", err)
	}
	count := map[string]int{}
	for _, d := range out.GetDevices() {
		for _, id := range d.GetDeviceIds() {
			if parsed, ok := parseDeviceID(id); ok && parsed.replica {
				count[parsed.base]++
			}
		}
	}
	return count, nil
}
