package kafka

import (
	"context"
	"log/slog"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sessions ends those that the broker forgets to end. A member that is killed while its wish to join is still unanswered
// gets, in kfake, no session to run out (groups.go: reply starts one only when the answer reached somebody), and would keep its
// partitions for ever. So we listen to what members say, and have those leave that say nothing for as long as a session lasts.
type sessions struct {
	log *slog.Logger

	mu     sync.Mutex
	limits map[string]time.Duration // guarded by mu; the longest session asked for, by group
	heard  map[member]time.Time     // guarded by mu; when each last said something
}

type member struct{ group, id string }

func newSessions(log *slog.Logger) *sessions {
	return &sessions{log: log, limits: map[string]time.Duration{}, heard: map[member]time.Time{}}
}

// listen has the cluster tell us what members send. It answers nothing in the broker's place.
func (s *sessions) listen(cluster *kfake.Cluster) {
	for key, heard := range map[kmsg.Key]func(kmsg.Request){
		kmsg.JoinGroup: func(r kmsg.Request) {
			join := r.(*kmsg.JoinGroupRequest)
			s.limits[join.Group] = max(s.limits[join.Group], time.Duration(join.SessionTimeoutMillis)*time.Millisecond)
			s.heard[member{join.Group, join.MemberID}] = time.Now()
		},
		kmsg.SyncGroup: func(r kmsg.Request) {
			sync := r.(*kmsg.SyncGroupRequest)
			s.heard[member{sync.Group, sync.MemberID}] = time.Now()
		},
		kmsg.Heartbeat: func(r kmsg.Request) {
			beat := r.(*kmsg.HeartbeatRequest)
			s.heard[member{beat.Group, beat.MemberID}] = time.Now()
		},
		kmsg.OffsetCommit: func(r kmsg.Request) {
			commit := r.(*kmsg.OffsetCommitRequest)
			s.heard[member{commit.Group, commit.MemberID}] = time.Now()
		},
	} {
		cluster.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			heard(r)
			return nil, nil, false
		})
	}
}

// watch looks after the groups until ctx ends.
func (s *sessions) watch(ctx context.Context, address string) {
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(address), Timeout: 10 * time.Second, Transport: transport}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.pause()):
		}
		for _, group := range s.groups() {
			if err := s.sweep(ctx, client, group); err != nil && ctx.Err() == nil {
				s.log.Warn("group not looked after", "group", group, "error", err)
			}
		}
	}
}

// pause is short beside the shortest session.
func (s *sessions) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause := 2 * time.Second
	for _, limit := range s.limits {
		pause = min(pause, max(limit/4, 50*time.Millisecond))
	}
	return pause
}

func (s *sessions) groups() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for group := range s.limits {
		names = append(names, group)
	}
	return names
}

// sweep has the silent members of a stable group leave. During a rebalance the broker itself drops who does not come back.
func (s *sessions) sweep(ctx context.Context, client *kafkago.Client, name string) error {
	said, err := client.DescribeGroups(ctx, &kafkago.DescribeGroupsRequest{GroupIDs: []string{name}})
	if err != nil {
		return err
	}
	for _, group := range said.Groups {
		if group.Error != nil {
			return group.Error
		}
		members := map[string]bool{}
		for _, m := range group.Members {
			members[m.MemberID] = true
		}
		for _, id := range s.silent(name, members, time.Now()) {
			if group.GroupState != "Stable" {
				continue
			}
			s.log.Info("member is silent, it leaves the group", "group", name, "member", id)
			_, err := client.LeaveGroup(ctx, &kafkago.LeaveGroupRequest{GroupID: name, Members: []kafkago.LeaveGroupRequestMember{{ID: id}}})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// silent are the members of a group not heard for longer than a session lasts. Who is seen for the first time counts as heard
// now, and who is no member any more is forgotten.
func (s *sessions) silent(group string, members map[string]bool, now time.Time) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.limits[group]
	for m, at := range s.heard {
		if m.group == group && !members[m.id] && now.Sub(at) > limit {
			delete(s.heard, m)
		}
	}
	for id := range members {
		m := member{group, id}
		at, known := s.heard[m]
		switch {
		case !known:
			s.heard[m] = now
		case now.Sub(at) > limit+limit/4: // the broker's own timer comes first
			ids = append(ids, id)
		}
	}
	return ids
}
