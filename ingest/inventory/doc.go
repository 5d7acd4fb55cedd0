// Package inventory reads what exists from a YAML file (sites, nodes, devices, tenants) and publishes it.
//
// It owns the format of the file (docs/inventory-yaml.md) and promises that good records go through when others are bad,
// that every bad one is named with line, column and remedy, and that unknown keys are refused. Collectors state the devices
// they read by themselves; a file may list those that nobody reads.
package inventory
