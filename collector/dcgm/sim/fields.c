/* fields.c: the metadata of the fields this library knows (fields.def) and its exported look-ups. */
#include "wlsim.h"

#include <string.h>

enum { SCOPE_GLOBAL = 0, SCOPE_ENTITY = 1 };

#define F(id, type, size, tag, scope, fi, level, unit) {{0}, unit, 10},
static dcgm_field_output_format_t formats[] = {
#include "fields.def"
};
#undef F

/* valueFormat is filled by number: field n of the table uses formats[n]. */
#define F(id, type, size, tag, scope, fi, level, unit) {id, type, size, tag, scope, fi, level, NULL},
static dcgm_field_meta_t metas[] = {
#include "fields.def"
};
#undef F

enum { NFIELDS = sizeof metas / sizeof metas[0] };
_Static_assert((int)NFIELDS <= (int)FIELDS_MAX, "more fields than slots");

__attribute__((constructor)) static void fields_link(void)
{
	for (int i = 0; i < NFIELDS; i++) {
		metas[i].valueFormat = &formats[i];
		strncpy(formats[i].shortName, metas[i].tag, sizeof formats[i].shortName - 1);
	}
}

int field_slot(uint16_t id)
{
	int lo = 0, hi = NFIELDS;
	while (lo < hi) {
		int mid = (lo + hi) / 2;
		if (metas[mid].fieldId < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < NFIELDS && metas[lo].fieldId == id ? lo : -1;
}

dcgm_field_meta_t *field_by_id(uint16_t id)
{
	int i = field_slot(id);
	return i < 0 ? NULL : &metas[i];
}

dcgm_field_meta_t *field_by_tag(const char *tag)
{
	for (int i = 0; tag && i < NFIELDS; i++)
		if (!strcmp(metas[i].tag, tag))
			return &metas[i];
	return NULL;
}

bool field_profiling(uint16_t id)
{
	return (id >= 1001 && id <= 1096) || id == 1532 || id == 1533;
}

EXPORT dcgm_field_meta_t *DcgmFieldGetById(unsigned short id)
{
	return field_by_id(id);
}

EXPORT dcgm_field_meta_t *DcgmFieldGetByTag(const char *tag)
{
	return field_by_tag(tag);
}

EXPORT int DcgmFieldsInit(void)
{
	return 0;
}

EXPORT int DcgmFieldsTerm(void)
{
	return 0;
}

EXPORT const char *DcgmFieldsGetEntityGroupString(int group)
{
	static const char *const names[EG_COUNT] = {"None", "GPU", "vGPU", "Switch", "GPU_I", "GPU_CI", "Link", "CPU", "CPU_Core", "ConnectX"};
	return group >= 0 && group < EG_COUNT ? names[group] : "Unknown";
}
