// Package deploy is how Wattledger is installed, and the black-box cases that use it as installed.
//
// It holds no code of the product. What runs is built from cmd; the cases in e2e start those binaries as a user would.
package deploy
