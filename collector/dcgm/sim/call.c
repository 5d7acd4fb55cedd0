/* call.c: which exported call a thread is in, what the calls cost, and how long the scenario holds them up.
 *
 * A call that another one makes inside the library is part of that one. What a callback does is the caller's. */
#include "wlsim.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
	const char *name;
	bool node;
} calls[CALLS] = {
#define C(name, node) {#name, node},
#include "calls.def"
#undef C
};

static atomic_uint_least64_t counts[CALLS];
static atomic_int_least64_t cpu_ns;
static _Thread_local int depth, current;
static _Thread_local int64_t entered_ns;

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; /* guards stats, and writing there */
static char stats[4096];                               /* WLSIM_STATS */
static atomic_bool writing;                            /* stats is set */
static atomic_int_least64_t written_ms;

static int64_t clock_ns(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void calls_begin(void)
{
	const char *path = getenv("WLSIM_STATS");
	if (!path || !*path || strlen(path) > sizeof stats - 8)
		return;
	pthread_mutex_lock(&mu);
	strcpy(stats, path);
	pthread_mutex_unlock(&mu);
	atomic_store(&writing, true);
}

static uint64_t dcgm_calls(void)
{
	uint64_t sum = 0;
	for (int i = 0; i < CALLS; i++)
		if (*calls[i].name == 'd')
			sum += atomic_load_explicit(&counts[i], memory_order_relaxed);
	return sum;
}

/* write_stats writes the file at most once a second, unless it must. A reader never sees half of it. */
static void write_stats(bool must_write)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000, last = atomic_load(&written_ms);
	if (!must_write && (now - last < 1000 || !atomic_compare_exchange_strong(&written_ms, &last, now)))
		return;
	pthread_mutex_lock(&mu);
	char part[sizeof stats + 8];
	snprintf(part, sizeof part, "%s.part", stats);
	FILE *f = fopen(part, "w");
	if (f) {
		fprintf(f, "cpu_ns %lld\ncalls %llu\n", (long long)atomic_load(&cpu_ns), (unsigned long long)dcgm_calls());
		if (fclose(f) || rename(part, stats))
			remove(part);
	}
	pthread_mutex_unlock(&mu);
}

static void spend(void)
{
	int64_t now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	atomic_fetch_add_explicit(&cpu_ns, now - entered_ns, memory_order_relaxed);
	entered_ns = now;
}

int call_begin(int id)
{
	if (depth++)
		return id;
	current = id;
	entered_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	atomic_fetch_add_explicit(&counts[id], 1, memory_order_relaxed);
	return id;
}

void call_end(int *id)
{
	if (--depth)
		return;
	spend();
	if (!atomic_load_explicit(&writing, memory_order_relaxed))
		return;
	write_stats(*id == CALL_dcgmShutdown);
	spend();
}

int call_leave(void)
{
	spend();
	depth = 0;
	return current;
}

void call_back(int id)
{
	depth = 1;
	current = id;
	entered_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int call_named(const char *name)
{
	for (int i = 0; i < CALLS; i++)
		if (calls[i].node && !strcmp(calls[i].name, name))
			return i;
	return -1;
}

/* wait_moved waits until the node's clock has moved or a delay is over. On the wall clock it looks once a second at
 * least, since that clock can be set. */
static void wait_moved(Node *n, int64_t to_us)
{
	if (!n->scenario->wall) {
		pthread_cond_wait(&n->moved, &n->mu);
		return;
	}
	int64_t until = wall_us() + 1000000;
	if (to_us < until)
		until = to_us;
	struct timespec t = {until / 1000000, until % 1000000 * 1000};
	pthread_cond_timedwait(&n->moved, &n->mu, &t);
	engine_advance(n, wall_us());
}

void call_delay(Node *n)
{
	int64_t at = n->now_us, slow = 0;
	for (int i = 0; i < n->ndelays; i++) {
		Delay *d = &n->delays[i];
		if (d->call != current || d->over || at < d->from_us || at >= d->to_us)
			continue;
		slow += d->us;
		while (!d->us && !d->over && n->now_us < d->to_us)
			wait_moved(n, d->to_us);
	}
	if (!slow)
		return;
	struct timespec t = {slow / 1000000, slow % 1000000 * 1000};
	pthread_mutex_unlock(&n->mu);
	nanosleep(&t, NULL);
	pthread_mutex_lock(&n->mu);
	if (n->scenario->wall)
		engine_advance(n, wall_us());
}

void call_release(Node *n, bool all)
{
	for (int i = 0; i < n->ndelays; i++)
		if (all || (n->now_us >= n->delays[i].from_us && n->now_us < n->delays[i].to_us))
			n->delays[i].over = true;
	pthread_cond_broadcast(&n->moved);
}

EXPORT uint64_t wlsim_calls(const char *function)
{
	for (int i = 0; function && i < CALLS; i++)
		if (!strcmp(calls[i].name, function))
			return atomic_load(&counts[i]);
	return 0;
}

EXPORT int64_t wlsim_cpu_ns(void)
{
	return atomic_load(&cpu_ns);
}
