/* group.c: groups of entities and groups of fields. */
#include "wlsim.h"

#include <stdlib.h>
#include <string.h>

static bool valid_name(const char *s)
{
	return s && strnlen(s, MAX_STR) < MAX_STR;
}

static Group *group_find(Node *n, dcgmGpuGrp_t g)
{
	for (int i = 0; n->groups && i < MAX_GROUPS; i++)
		if (n->groups[i].used && n->group_id[i] == g)
			return &n->groups[i];
	return NULL;
}

FieldGroup *fgroup_find(Node *n, dcgmFieldGrp_t f)
{
	for (int i = 0; n->fgroups && i < MAX_FIELD_GROUPS; i++)
		if (n->fgroups[i].used && n->fgroup_id[i] == f)
			return &n->fgroups[i];
	return NULL;
}

static bool special(dcgmGpuGrp_t g)
{
	return g >= GROUP_NULL && g <= GROUP_ALL_GPUS;
}

static bool group_add(Group *g, uint32_t eg, uint32_t id)
{
	if (g->n == g->cap) {
		uint32_t cap = g->cap ? g->cap * 2 : 16;
		dcgmGroupEntityPair_t *q = realloc(g->members, cap * sizeof *q);
		if (!q)
			return false;
		g->members = q;
		g->cap = cap;
	}
	g->members[g->n++] = (dcgmGroupEntityPair_t){eg, id};
	return true;
}

static void add_all(const Node *n, Group *g, uint32_t eg)
{
	for (int i = 1; i < n->nent; i++)
		if ((n->ent[i].group == eg || eg == EG_COUNT) && !entity_gone(&n->ent[i], n->now_us))
			group_add(g, n->ent[i].group, n->ent[i].id);
}

/* group_members copies the members of a group; the caller frees them. */
int group_members(Node *n, dcgmGpuGrp_t id, dcgmGroupEntityPair_t **out, uint32_t *count)
{
	Group copy = {0};
	*out = NULL;
	*count = 0;
	switch (id) {
	case GROUP_ALL_GPUS:
		add_all(n, &copy, EG_GPU);
		break;
	case GROUP_ALL_INSTANCES:
		add_all(n, &copy, EG_GPU_I);
		break;
	case GROUP_ALL_COMPUTE_INSTANCES:
		add_all(n, &copy, EG_GPU_CI);
		break;
	case GROUP_ALL_ENTITIES:
		add_all(n, &copy, EG_COUNT);
		break;
	case GROUP_ALL_NVSWITCHES:
		add_all(n, &copy, EG_SWITCH);
		break;
	case GROUP_NULL:
		break;
	default: {
		Group *g = group_find(n, id);
		if (!g)
			return ST_NOT_CONFIGURED;
		for (uint32_t i = 0; i < g->n; i++)
			group_add(&copy, g->members[i].entityGroupId, g->members[i].entityId);
	}
	}
	*out = copy.members;
	*count = copy.n;
	return ST_OK;
}

void groups_drop_owner(Node *n, dcgmHandle_t owner)
{
	for (int i = 0; n->groups && i < MAX_GROUPS; i++)
		if (n->groups[i].used && n->groups[i].owner == owner) {
			free(n->groups[i].members);
			memset(&n->groups[i], 0, sizeof n->groups[i]);
		}
	for (int i = 0; n->fgroups && i < MAX_FIELD_GROUPS; i++)
		if (n->fgroups[i].used && n->fgroups[i].owner == owner)
			n->fgroups[i].used = false;
}

EXPORT dcgmReturn_t dcgmGroupCreate(dcgmHandle_t h, int32_t type, const char *name, dcgmGpuGrp_t *out)
{
	CALL(dcgmGroupCreate);
	Conn *c;
	if (!out || !valid_name(name) || type < 0 || type > 5)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	Node *n = c->node;
	if (!n->groups)
		n->groups = calloc(MAX_GROUPS, sizeof *n->groups);
	int i = 0;
	while (n->groups && i < MAX_GROUPS && n->groups[i].used)
		i++;
	if (!n->groups)
		rc = ST_MEMORY;
	else if (i == MAX_GROUPS)
		rc = ST_MAX_LIMIT;
	else {
		static const uint32_t all[] = {EG_GPU, 0, EG_SWITCH, EG_GPU_I, EG_GPU_CI, EG_COUNT};
		Group *g = &n->groups[i];
		*g = (Group){.used = true, .owner = h};
		strcpy(g->name, name);
		if (all[type])
			add_all(n, g, all[type]);
		*out = n->group_id[i] = ++n->group_seq;
	}
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmGroupDestroy(dcgmHandle_t h, dcgmGpuGrp_t id)
{
	CALL(dcgmGroupDestroy);
	Conn *c;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	Group *g = group_find(c->node, id);
	if (!g)
		rc = special(id) ? ST_BADPARAM : ST_NOT_CONFIGURED;
	else {
		engine_unwatch(c->node, 0, true, id, false, 0, true);
		free(g->members);
		memset(g, 0, sizeof *g);
	}
	conn_leave(c);
	return rc;
}

static int change(dcgmHandle_t h, dcgmGpuGrp_t id, uint32_t eg, uint32_t eid, bool add)
{
	Conn *c;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	Group *g = group_find(c->node, id);
	const Entity *e = engine_entity(c->node, eg, eid);
	uint32_t at = 0;
	while (g && at < g->n && (g->members[at].entityGroupId != eg || g->members[at].entityId != eid))
		at++;
	if (!g)
		rc = special(id) ? ST_BADPARAM : ST_NOT_CONFIGURED;
	else if (eg == EG_NONE || !e)
		rc = ST_BADPARAM;
	else if (add && entity_gone(e, c->node->now_us))
		rc = entity_gone(e, c->node->now_us);
	else if (add && (at < g->n || g->n >= MAX_ENTITIES_PER_GROUP))
		rc = at < g->n ? ST_BADPARAM : ST_MAX_LIMIT;
	else if (add)
		rc = group_add(g, eg, eid) ? ST_OK : ST_MEMORY;
	else if (at == g->n)
		rc = ST_BADPARAM;
	else {
		memmove(&g->members[at], &g->members[at + 1], (g->n - at - 1) * sizeof *g->members);
		g->n--;
	}
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmGroupAddDevice(dcgmHandle_t h, dcgmGpuGrp_t g, unsigned gpu)
{
	CALL(dcgmGroupAddDevice);
	return change(h, g, EG_GPU, gpu, true);
}

EXPORT dcgmReturn_t dcgmGroupAddEntity(dcgmHandle_t h, dcgmGpuGrp_t g, uint32_t eg, uint32_t eid)
{
	CALL(dcgmGroupAddEntity);
	return change(h, g, eg, eid, true);
}

EXPORT dcgmReturn_t dcgmGroupRemoveDevice(dcgmHandle_t h, dcgmGpuGrp_t g, unsigned gpu)
{
	CALL(dcgmGroupRemoveDevice);
	return change(h, g, EG_GPU, gpu, false);
}

EXPORT dcgmReturn_t dcgmGroupRemoveEntity(dcgmHandle_t h, dcgmGpuGrp_t g, uint32_t eg, uint32_t eid)
{
	CALL(dcgmGroupRemoveEntity);
	return change(h, g, eg, eid, false);
}

EXPORT dcgmReturn_t dcgmGroupGetInfo(dcgmHandle_t h, dcgmGpuGrp_t id, dcgmGroupInfo_v3 *x)
{
	CALL(dcgmGroupGetInfo);
	Conn *c;
	if (!x)
		return ST_BADPARAM;
	if (x->version != VERSION(dcgmGroupInfo_v3, 3))
		return ST_VER_MISMATCH;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	dcgmGroupEntityPair_t *list;
	uint32_t count;
	rc = group_members(c->node, id, &list, &count);
	if (rc == ST_OK) {
		Group *g = group_find(c->node, id);
		memset(x->groupName, 0, sizeof x->groupName);
		if (g)
			strcpy(x->groupName, g->name);
		x->count = count < MAX_ENTITIES_PER_GROUP ? count : MAX_ENTITIES_PER_GROUP;
		if (x->count)
			memcpy(x->entityList, list, x->count * sizeof *list);
		free(list);
	}
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmGroupGetAllIds(dcgmHandle_t h, dcgmGpuGrp_t list[MAX_GROUPS], unsigned *count)
{
	CALL(dcgmGroupGetAllIds);
	Conn *c;
	if (!list || !count)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	*count = 0;
	for (int i = 0; c->node->groups && i < MAX_GROUPS; i++)
		if (c->node->groups[i].used)
			list[(*count)++] = c->node->group_id[i];
	conn_leave(c);
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmFieldGroupCreate(dcgmHandle_t h, int32_t count, const uint16_t *ids, const char *name, dcgmFieldGrp_t *out)
{
	CALL(dcgmFieldGroupCreate);
	Conn *c;
	if (!ids || !out || !valid_name(name) || count < 1 || count > MAX_FIELDS_PER_GROUP)
		return ST_BADPARAM;
	for (int i = 0; i < count; i++)
		if (!field_by_id(ids[i]))
			return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	Node *n = c->node;
	if (!n->fgroups)
		n->fgroups = calloc(MAX_FIELD_GROUPS, sizeof *n->fgroups);
	int at = -1;
	for (int i = 0; n->fgroups && i < MAX_FIELD_GROUPS; i++) {
		if (!n->fgroups[i].used)
			at = at < 0 ? i : at;
		else if (!strcmp(n->fgroups[i].name, name))
			rc = ST_DUPLICATE_KEY;
	}
	if (!n->fgroups)
		rc = ST_MEMORY;
	else if (rc == ST_OK && at < 0)
		rc = ST_MAX_LIMIT;
	else if (rc == ST_OK) {
		FieldGroup *f = &n->fgroups[at];
		*f = (FieldGroup){.used = true, .owner = h, .n = (uint32_t)count};
		strcpy(f->name, name);
		memcpy(f->ids, ids, (size_t)count * sizeof *ids);
		*out = n->fgroup_id[at] = ++n->fgroup_seq;
	}
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmFieldGroupDestroy(dcgmHandle_t h, dcgmFieldGrp_t id)
{
	CALL(dcgmFieldGroupDestroy);
	Conn *c;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	FieldGroup *f = fgroup_find(c->node, id);
	if (f)
		f->used = false;
	else
		rc = ST_NO_DATA;
	conn_leave(c);
	return rc;
}

static void describe(const FieldGroup *f, dcgmFieldGrp_t id, dcgmFieldGroupInfo_v1 *x)
{
	memset(x, 0, sizeof *x);
	x->version = VERSION(dcgmFieldGroupInfo_v1, 1);
	x->numFieldIds = f->n;
	x->fieldGroupId = id;
	strcpy(x->fieldGroupName, f->name);
	memcpy(x->fieldIds, f->ids, f->n * sizeof *f->ids);
}

EXPORT dcgmReturn_t dcgmFieldGroupGetInfo(dcgmHandle_t h, dcgmFieldGroupInfo_v1 *x)
{
	CALL(dcgmFieldGroupGetInfo);
	Conn *c;
	if (!x)
		return ST_BADPARAM;
	if (x->version != VERSION(dcgmFieldGroupInfo_v1, 1))
		return ST_VER_MISMATCH;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	const FieldGroup *f = fgroup_find(c->node, x->fieldGroupId);
	if (f)
		describe(f, x->fieldGroupId, x);
	else
		rc = ST_NO_DATA;
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmFieldGroupGetAll(dcgmHandle_t h, dcgmAllFieldGroup_v1 *x)
{
	CALL(dcgmFieldGroupGetAll);
	Conn *c;
	if (!x)
		return ST_BADPARAM;
	if (x->version != VERSION(dcgmAllFieldGroup_v1, 1))
		return ST_VER_MISMATCH;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	x->numFieldGroups = 0;
	for (int i = 0; c->node->fgroups && i < MAX_FIELD_GROUPS; i++)
		if (c->node->fgroups[i].used)
			describe(&c->node->fgroups[i], c->node->fgroup_id[i], &x->fieldGroups[x->numFieldGroups++]);
	conn_leave(c);
	return ST_OK;
}
