// Package kubernetes says which pod holds which device of this node: a workload.Source over the kubelet and the API server.
//
// It owns the client of the kubelet's PodResources API v1, the forms of device ids that plugins and DRA drivers use, and a
// small client of the API server that lists and watches the pods of one node. From the kubelet it learns devices, from the
// API server labels and the times of a pod's beginning and end. It promises that a pod is not lost because it lived
// between two polls, that a pod which has ended holds nothing although the kubelet still lists it, and that what
// cannot be placed on a device is counted and named. Without access to the API server it goes on with namespace, pod and
// container, and says so. Who is billed is left to collector/workload; nothing here writes to the cluster.
package kubernetes
