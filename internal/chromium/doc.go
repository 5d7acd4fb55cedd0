// Package chromium drives a headless Chromium, so that tests can look at pages as people do.
//
// It speaks the DevTools protocol over the browser's own pipe (--remote-debugging-pipe): no port is opened, no library needed, and the
// browser ends with the process that started it. Pages are drawn, asked by JavaScript and photographed; whatever a page complains of is kept.
// The browser gets a fresh profile, and nothing of it reaches the network by itself.
package chromium
