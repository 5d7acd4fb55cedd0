// Package factor holds published values with their provenance: the intensity of grids and the power of device models.
//
// A value carries source, edition, validity, licence and boundary, so that a report can name what it used. Tables are
// committed data, not constants in code.
package factor
