package e2e

// events are what happened, by the tables in which it stands: the XIDs that were read, incidents, hours that closed, what was corrected, and
// allocations that ran where their tenant does not allow it.
const events = `(` +
	// An XID is shown once for each minute in which a device reported it, at the first reading of that minute.
	`SELECT toUnixTimestamp64Micro(min(tick)) AS began_us, toUnixTimestamp64Micro(max(tick)) AS ended_us, 'xid' AS event, toString(site) AS site, toString(node) AS node, toString(device) AS device,
		'' AS tenant, concat('XID ', toString(max(xid))) AS text, [''] AS entry
	FROM samples WHERE xid != 4294967295 GROUP BY site, node, device, run, energy_epoch, toStartOfMinute(tick) HAVING max(xid) > 0` +
	` UNION ALL SELECT from_us, to_us, toString(kind), toString(site), toString(node), device, '', concat(toString(reason), ' (', toString(amount),
		CASE kind WHEN 'gap' THEN ' ticks' WHEN 'loss' THEN ' messages' WHEN 'missing' THEN ' messages' WHEN 'clock_step' THEN ' µs' WHEN 'epoch' THEN ' mJ' ELSE '' END, ')'), ['']
	FROM incidents FINAL WHERE from_us < {to} AND to_us >= {from}` +
	` UNION ALL SELECT 1000000 * toInt64(toUnixTimestamp(hour) + 3600) AS at, at, 'closing', toString(site), '', '', '',
		concat('hour closed, ', closing, ', batch ', toString(batch), if(reason = '', '', ': '), reason), [root]
	FROM seals FINAL WHERE closing != 'adjustment' AND at >= {from} AND at < {to}` +
	` UNION ALL SELECT 1000000 * toInt64(toUnixTimestamp(hour)), 1000000 * toInt64(toUnixTimestamp(hour) + 3600), 'adjustment', toString(site), toString(node),
		if(uniqExact(device) = 1, toString(min(device)), ''), toString(tenant),
		concat(toString(count()), ' lines of batch ', toString(batch), ', ', toString(round(sum(` + energyMJ + `) / 3600000, 3)), ' Wh: ', min(reason)), groupArray(id)
	FROM ` + booked + ` WHERE kind = 'adjustment' GROUP BY site, node, tenant, hour, batch` +
	` UNION ALL SELECT min(from_us), max(to_us), 'violation', toString(site), '', '', toString(tenant), concat('allocation ', allocation, ' ran in ', min(country)), groupArray(id)
	FROM ` + judged + ` WHERE verdict = 'fail' GROUP BY site, tenant, allocation)`
