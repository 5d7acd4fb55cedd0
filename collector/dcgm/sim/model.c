/* model.c: the hardware that can be played, and identity derived from seed and names.
 *
 * SCENARIO.md specifies the derivation, so that other programs can compute the same UUIDs. */
#include "wlsim.h"

#include <stdio.h>
#include <string.h>

const char *driver_version(const Node *n, int64_t t_us)
{
	const char *version = "580.95.05";
	for (int i = 0; i < n->ndrivers && n->drivers[i].t_ms * 1000 <= t_us; i++)
		version = n->drivers[i].version;
	return version;
}

/* driver_away tells whether the GPUs wait for another driver. */
bool driver_away(const Node *n, int64_t t_us)
{
	for (int i = 0; i < n->ndrivers; i++) {
		int64_t to = n->drivers[i].t_ms * 1000;
		if (t_us >= to - DETACHED_US && t_us < to)
			return true;
	}
	return false;
}

static const Model builtin[] = {
	{
		.name = "hgx-b200", .title = "NVIDIA B200", .brand = "Nvidia", .arch = 10, .gpus = 8,
		.idle_mw = 140000, .limit_mw = 1000000, .min_limit_mw = 200000, .mig_idle_mw = 140000, .fb_mib = 183359,
		.sm_mhz = 1965, .mem_mhz = 3996, .compute_capability = 0xa0000, .pcie_gen = 6, .nvlinks = 18, .pci_device = 0x2901,
		.energy_counter = true, .profiling = true, .power_instant = true, .mem_temp = true,
	},
	{
		.name = "gb200", .title = "NVIDIA GB200", .brand = "Nvidia", .arch = 10, .gpus = 4, .cpus = 2,
		.idle_mw = 140000, .limit_mw = 1200000, .min_limit_mw = 200000, .mig_idle_mw = 140000, .fb_mib = 189471,
		.sm_mhz = 2062, .mem_mhz = 3996, .compute_capability = 0xa0000, .pcie_gen = 6, .nvlinks = 18, .pci_device = 0x2941,
		.energy_counter = true, .profiling = true, .power_instant = true, .mem_temp = true, .grace = true,
	},
};

const Model *model_builtin(const char *name)
{
	for (size_t i = 0; i < sizeof builtin / sizeof builtin[0]; i++)
		if (!strcmp(builtin[i].name, name))
			return &builtin[i];
	return NULL;
}

/* mix64 is the finaliser of splitmix64. */
uint64_t mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* derive hashes "SEED/NODE/WHAT/INDEX" or "SEED/NODE/WHAT/INDEX/INST" with 64-bit FNV-1a. */
uint64_t derive(uint64_t seed, const char *node, const char *what, int index, int inst)
{
	char text[256];
	if (inst < 0)
		snprintf(text, sizeof text, "%llu/%s/%s/%d", (unsigned long long)seed, node, what, index);
	else
		snprintf(text, sizeof text, "%llu/%s/%s/%d/%d", (unsigned long long)seed, node, what, index, inst);
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (const char *p = text; *p; p++) {
		h ^= (unsigned char)*p;
		h *= UINT64_C(0x100000001b3);
	}
	return h;
}

void derive_uuid(char *out, const char *prefix, uint64_t seed, const char *node, const char *what, int index, int inst)
{
	uint64_t h = derive(seed, node, what, index, inst);
	uint64_t a = mix64(h), b = mix64(h + UINT64_C(0x9e3779b97f4a7c15));
	snprintf(out, 64, "%s%08x-%04x-%04x-%04x-%012llx", prefix, (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
		(unsigned)(a & 0xffff), (unsigned)(b >> 48), (unsigned long long)(b & UINT64_C(0xffffffffffff)));
}

/* On real boards the minor number is not the index; code that confuses the two should fail here. */
int gpu_minor(const Device *d)
{
	return d->node->ngpu - 1 - d->index;
}

void gpu_pci(const Device *d, char *out, size_t n)
{
	static const unsigned char hgx[8] = {0x1b, 0x43, 0x52, 0x61, 0x9d, 0xc3, 0xd1, 0xdf};
	static const unsigned char grace[4] = {0x08, 0x09, 0x18, 0x19};
	if (d->model->grace && d->index < 4)
		snprintf(out, n, "%08X:01:00.0", grace[d->index]);
	else if (d->index < 8)
		snprintf(out, n, "00000000:%02X:00.0", hgx[d->index]);
	else
		snprintf(out, n, "00000001:%02X:00.0", d->index);
}

/* instance_name gives the profile's name, such as "NVIDIA B200 MIG 1g.23gb". Memory is rounded up to whole GiB. */
void instance_name(const Device *d, const Instance *in, bool ci, char *out, size_t n)
{
	(void)ci; /* one compute instance spans its GPU instance, and then both carry the same name */
	int64_t mib = d->model->fb_mib * in->mem_slices / 8;
	snprintf(out, n, "%s MIG %dg.%lldgb", d->model->title, in->slices, (long long)((mib + 1023) / 1024));
}
