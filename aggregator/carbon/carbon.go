// Package carbon turns energy into greenhouse gases, and into water and heat, with the factors valid then.
//
// Location-based (GHG Protocol Scope 2 Guidance, chapter 6.1): energy of the hour × intensity of the grid zone the site is
// in. Each entry is rounded once; a total is the sum of entries. Nothing here reads a clock, a file or the network.
package carbon
