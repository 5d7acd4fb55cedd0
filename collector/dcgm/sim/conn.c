/* conn.c: handles, the one scenario of the process, and errors in words.
 *
 * The only state shared between nodes. `mu` is held for look-ups, never while a node plays, and the order is always
 * mu before a node's own mutex, or one of them alone. */
#include "wlsim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; /* guards everything in this file but `error` */
static bool initialised;
static Scenario *scenario;
static Conn **conns; /* open ones; handle n is searched, since there are few */
static int nconns, capconns;
static dcgmHandle_t last_handle;
static int64_t slow_us; /* WLSIM_SLOW_US: how long every call dawdles, to try timeouts and watchdogs */
static _Thread_local char error[1024];

void set_error(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(error, sizeof error, fmt, ap);
	va_end(ap);
}

EXPORT const char *wlsim_error(void)
{
	return error;
}

int64_t wall_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* scenario_install replaces the scenario; connections of the old one must be closed first. */
int scenario_install(Scenario *s)
{
	pthread_mutex_lock(&mu);
	if (nconns) {
		set_error("a scenario cannot be replaced while %d connections are open: disconnect or shut down first", nconns);
		pthread_mutex_unlock(&mu);
		scenario_free(s);
		return -1;
	}
	Scenario *old = scenario;
	scenario = s;
	pthread_mutex_unlock(&mu);
	for (int i = 0; old && i < old->nnode; i++) { /* nobody could release what still hangs there */
		pthread_mutex_lock(&old->node[i]->mu);
		call_release(old->node[i], true);
		pthread_mutex_unlock(&old->node[i]->mu);
	}
	if (old)
		scenario_drop(old);
	return 0;
}

static char *read_file(const char *path, int64_t *len)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return NULL;
	char *text = NULL;
	size_t n = 0, cap = 0;
	for (;;) {
		if (n == cap) {
			cap = cap ? cap * 2 : 1 << 16;
			char *q = realloc(text, cap);
			if (!q) {
				free(text);
				fclose(f);
				return NULL;
			}
			text = q;
		}
		size_t got = fread(text + n, 1, cap - n, f);
		n += got;
		if (!got)
			break;
	}
	bool bad = ferror(f);
	fclose(f);
	if (bad) {
		free(text);
		return NULL;
	}
	*len = (int64_t)n;
	return text;
}

static Scenario *load(const char *path)
{
	char err[600];
	int64_t len;
	char *text = read_file(path, &len);
	if (!text) {
		set_error("%s: the file cannot be read", path);
		return NULL;
	}
	Scenario *s = scenario_parse(text, len, err, sizeof err);
	free(text);
	if (!s)
		set_error("%s: %s", path, err);
	return s;
}

EXPORT int wlsim_load(const char *path)
{
	Scenario *s = path ? load(path) : NULL;
	return s ? scenario_install(s) : -1;
}

EXPORT int wlsim_check(const char *text, int64_t len)
{
	char err[600];
	Scenario *s = scenario_parse(text, len, err, sizeof err);
	if (!s) {
		set_error("%s", err);
		return -1;
	}
	scenario_free(s);
	return 0;
}

/* default_scenario loads the one named by the environment, or the built-in one. Callers hold mu. */
static bool default_scenario(void)
{
	if (scenario)
		return true;
	const char *path = getenv("WLSIM_SCENARIO");
	if (path && *path)
		scenario = load(path);
	else
		scenario = scenario_parse(scenario_default, (int64_t)strlen(scenario_default), error, sizeof error);
	if (!scenario)
		fprintf(stderr, "libdcgm (simulated): %s\n", error);
	return scenario != NULL;
}

Scenario *scenario_hold(void)
{
	pthread_mutex_lock(&mu);
	Scenario *s = default_scenario() ? scenario : NULL;
	if (s)
		s->refs++;
	pthread_mutex_unlock(&mu);
	return s;
}

void scenario_drop(Scenario *s)
{
	pthread_mutex_lock(&mu);
	bool dead = --s->refs == 0;
	pthread_mutex_unlock(&mu);
	if (dead)
		scenario_free(s);
}

int conn_init(void)
{
	pthread_mutex_lock(&mu);
	initialised = true;
	const char *slow = getenv("WLSIM_SLOW_US");
	slow_us = slow ? strtoll(slow, NULL, 10) : 0;
	calls_begin();
	pthread_mutex_unlock(&mu);
	return ST_OK;
}

int conn_open(const char *name, size_t len, bool embedded, bool persist, bool manual, dcgmHandle_t *out)
{
	Scenario *s = scenario_hold();
	if (!s)
		return ST_GENERIC_ERROR;
	Node *n = embedded ? s->node[0] : scenario_node(s, name, len);
	if (!n) {
		scenario_drop(s);
		return ST_CONNECTION_NOT_VALID;
	}
	pthread_mutex_lock(&n->mu);
	if (s->wall)
		engine_advance(n, wall_us());
	if (n->up)
		call_delay(n);
	bool up = n->up;
	int epoch = n->epoch;
	if (up && embedded)
		n->manual = manual;
	pthread_mutex_unlock(&n->mu);
	Conn *c = up ? calloc(1, sizeof *c) : NULL;
	int rc = up ? ST_MEMORY : ST_CONNECTION_NOT_VALID;
	pthread_mutex_lock(&mu);
	if (c && !initialised)
		rc = ST_UNINITIALIZED;
	else if (c) {
		if (nconns == capconns) {
			int cap = capconns ? capconns * 2 : 16;
			Conn **q = realloc(conns, (size_t)cap * sizeof *q);
			if (q) {
				conns = q;
				capconns = cap;
			}
		}
		if (nconns < capconns) {
			*c = (Conn){.refs = 1, .persist = persist, .embedded = embedded, .scenario = s, .node = n, .epoch = epoch};
			if (!embedded && ++last_handle == EMBEDDED_HANDLE)
				last_handle = 1;
			c->handle = embedded ? EMBEDDED_HANDLE : last_handle;
			conns[nconns++] = c;
			rc = ST_OK;
			*out = c->handle;
		}
	}
	pthread_mutex_unlock(&mu);
	if (rc != ST_OK) {
		free(c);
		scenario_drop(s);
	}
	return rc;
}

static Conn *find(dcgmHandle_t h, int *at)
{
	for (int i = 0; i < nconns; i++)
		if (conns[i]->handle == h) {
			*at = i;
			return conns[i];
		}
	return NULL;
}

void conn_drop(Conn *c)
{
	pthread_mutex_lock(&mu);
	bool dead = --c->refs == 0;
	pthread_mutex_unlock(&mu);
	if (!dead)
		return;
	scenario_drop(c->scenario);
	free(c);
}

/* hang_up drops what the engine keeps for a connection, unless the node has rebooted since. */
static void hang_up(Conn *c)
{
	Node *n = c->node;
	pthread_mutex_lock(&n->mu);
	call_delay(n);
	if (!c->persist && c->epoch == n->epoch && n->up) {
		engine_unwatch(n, c->handle, false, 0, true, 0, true);
		groups_drop_owner(n, c->handle);
	}
	if (c->embedded)
		n->manual = false;
	pthread_mutex_unlock(&n->mu);
	conn_drop(c);
}

int conn_close(dcgmHandle_t h)
{
	int at;
	pthread_mutex_lock(&mu);
	Conn *c = find(h, &at);
	if (c) {
		c->closed = true;
		conns[at] = conns[--nconns];
	}
	pthread_mutex_unlock(&mu);
	if (!c)
		return ST_BADPARAM;
	hang_up(c);
	return ST_OK;
}

void conn_shutdown(void)
{
	for (;;) {
		pthread_mutex_lock(&mu);
		initialised = false;
		Conn *c = nconns ? conns[--nconns] : NULL;
		pthread_mutex_unlock(&mu);
		if (!c)
			return;
		hang_up(c);
	}
}

bool conn_embedded(dcgmHandle_t *h)
{
	int at;
	pthread_mutex_lock(&mu);
	bool have = find(EMBEDDED_HANDLE, &at) != NULL;
	pthread_mutex_unlock(&mu);
	*h = EMBEDDED_HANDLE;
	return have;
}

int conn_resume(Conn *c)
{
	Node *n = c->node;
	pthread_mutex_lock(&n->mu);
	if (c->scenario->wall)
		engine_advance(n, wall_us());
	if (n->up && n->epoch == c->epoch)
		return ST_OK;
	pthread_mutex_unlock(&n->mu);
	return ST_CONNECTION_NOT_VALID;
}

void conn_pause(Conn *c)
{
	pthread_mutex_unlock(&c->node->mu);
}

int conn_enter(dcgmHandle_t h, Conn **out)
{
	int at;
	pthread_mutex_lock(&mu);
	Conn *c = initialised ? find(h, &at) : NULL;
	bool ready = initialised;
	int64_t slow = slow_us;
	if (c)
		c->refs++;
	pthread_mutex_unlock(&mu);
	if (slow > 0) {
		struct timespec t = {slow / 1000000, slow % 1000000 * 1000};
		nanosleep(&t, NULL);
	}
	if (!ready)
		return ST_UNINITIALIZED;
	if (!c)
		return h ? ST_CONNECTION_NOT_VALID : ST_BADPARAM;
	int rc = conn_resume(c);
	if (rc == ST_OK) {
		call_delay(c->node);
		if (!c->node->up || c->node->epoch != c->epoch) { /* it went away meanwhile */
			conn_pause(c);
			rc = ST_CONNECTION_NOT_VALID;
		}
	}
	if (rc != ST_OK) {
		conn_drop(c);
		return rc;
	}
	*out = c;
	return ST_OK;
}

void conn_leave(Conn *c)
{
	conn_pause(c);
	conn_drop(c);
}
