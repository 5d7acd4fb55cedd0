/* control.c: the wlsim_ calls by which a test or a demo drives the play. No collector ever makes them. */
#include "wlsim.h"

#include <stdio.h>
#include <string.h>

/* hold finds a node of the present scenario and locks it. */
static Node *hold(const char *name, Scenario **s)
{
	*s = scenario_hold();
	if (!*s)
		return NULL;
	Node *n = name ? scenario_node(*s, name, strcspn(name, ":")) : NULL;
	if (!n) {
		set_error("unknown node \"%s\"", name ? name : "");
		scenario_drop(*s);
		return NULL;
	}
	pthread_mutex_lock(&n->mu);
	return n;
}

static int give_back(Node *n, Scenario *s, int rc)
{
	pthread_mutex_unlock(&n->mu);
	scenario_drop(s);
	return rc;
}

EXPORT int wlsim_advance(const char *node, int64_t t_us)
{
	CALL(wlsim_advance);
	Scenario *s;
	Node *n = hold(node, &s);
	if (!n)
		return -1;
	int rc = 0;
	if (s->wall) {
		set_error("node %s is on the wall clock: it cannot be advanced", n->name);
		rc = -1;
	} else if (engine_advance(n, t_us)) {
		set_error("node %s is at %lld already: time does not go back to %lld", n->name, (long long)n->now_us, (long long)t_us);
		rc = -1;
	}
	return give_back(n, s, rc);
}

EXPORT int64_t wlsim_now(const char *node)
{
	CALL(wlsim_now);
	Scenario *s;
	Node *n = hold(node, &s);
	if (!n)
		return -1;
	if (s->wall)
		engine_advance(n, wall_us());
	int64_t now = n->now_us;
	give_back(n, s, 0);
	return now;
}

static int copy(char *buf, int len, const char *text)
{
	if (!buf || len < (int)strlen(text) + 1) {
		set_error("the buffer of %d bytes is too small for \"%s\"", len, text);
		return -1;
	}
	strcpy(buf, text);
	return (int)strlen(text);
}

/* wlsim_gpu_uuid writes the UUID and gives its length; also for CPUs with index -1, -2, … */
EXPORT int wlsim_gpu_uuid(const char *node, int index, char *buf, int len)
{
	Scenario *s;
	Node *n = hold(node, &s);
	if (!n)
		return -1;
	int at = index < 0 ? n->ngpu - 1 - index : index, rc = -1;
	if (index < -n->ncpu || index >= n->ngpu)
		set_error("node %s has %d GPUs and %d CPUs", n->name, n->ngpu, n->ncpu);
	else
		rc = copy(buf, len, n->dev[at].uuid);
	return give_back(n, s, rc);
}

EXPORT int wlsim_mig_uuid(const char *node, int index, int instance, char *buf, int len)
{
	Scenario *s;
	Node *n = hold(node, &s);
	if (!n)
		return -1;
	int rc = -1;
	if (index < 0 || index >= n->ngpu || instance < 0 || instance >= n->dev[index].ninst)
		set_error("node %s has no instance %d.%d", n->name, index, instance);
	else
		rc = copy(buf, len, n->dev[index].inst[instance].uuid);
	return give_back(n, s, rc);
}

/* wlsim_boot_id writes the kernel's boot id of the present boot, as /proc/sys/kernel/random/boot_id would. */
EXPORT int wlsim_boot_id(const char *node, char *buf, int len)
{
	Scenario *s;
	Node *n = hold(node, &s);
	if (!n)
		return -1;
	char id[64];
	derive_uuid(id, "", s->seed, n->name, "boot", n->boots, -1);
	return give_back(n, s, copy(buf, len, id));
}

/* wlsim_truth gives the true energy of a device, µJ since the start of the scenario, at an instant for which there is a row: an
 * edge, a full hour or a mark that the node has passed. -1 when there is none. CPUs have index -1, -2, … */
EXPORT int64_t wlsim_truth(const char *node, int index, int64_t t_us)
{
	CALL(wlsim_truth);
	Scenario *s;
	Node *n = hold(node, &s);
	if (!n)
		return -1;
	int at = index < 0 ? n->ngpu - 1 - index : index;
	int64_t uj = -1;
	if (index < -n->ncpu || index >= n->ngpu) {
		set_error("node %s has no device %d", node, index);
	} else {
		Device *d = &n->dev[at];
		play(d, n->now_us / 1000);
		uj = truth_at(d, t_us / 1000);
		if (uj < 0 || t_us % 1000)
			set_error("the truth of device %d of node %s has no row at %lld", index, node, (long long)t_us);
	}
	give_back(n, s, 0);
	return t_us % 1000 ? -1 : uj;
}

EXPORT int wlsim_write_truth(const char *path)
{
	CALL(wlsim_write_truth);
	Scenario *s = scenario_hold();
	char err[512];
	if (!s || !path)
		return -1;
	int rc = truth_write(s, path, err, sizeof err);
	if (rc)
		set_error("%s", err);
	scenario_drop(s);
	return rc;
}

/* wlsim_release ends the hang and slow lines that hold up calls of a node at present, for good. */
EXPORT int wlsim_release(const char *node)
{
	Scenario *s;
	Node *n = hold(node, &s);
	if (!n)
		return -1;
	if (s->wall)
		engine_advance(n, wall_us());
	call_release(n, false);
	return give_back(n, s, 0);
}
