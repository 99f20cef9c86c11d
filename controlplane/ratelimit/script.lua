-- Decides one ask and counts what it grants: engine.go, in Redis, on Redis' own clock.
-- KEYS[1] the key. ARGV: 1 "g" (GCRA), "b" (token bucket) or "w" (sliding window), 2 requests, 3 per (us), 4 burst, 5 each, 6 times,
-- 7 "1": give back, 8 us added to the clock (tests).
-- Returns granted, remaining, reset (us), retry (us).
local key, requests, per, burst = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local each, times, back = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local grain, stepback = 1e-6, 1000000
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2]) + tonumber(ARGV[8])
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min

local function fit(room)
  if back then return times end
  if each == 0 then return room + grain >= 1 and times or 0 end
  return min(times, max(0, floor((room + grain) / each)))
end
local function up(v) return ceil(v - grain) end
local function text(v) return string.format('%.17g', v) end
local function int(v) return string.format('%.0f', v) end -- ".0f": a plain tostring loses digits above 10^14

if ARGV[1] == 'g' then
  local rate, used, last, known = requests / per, 0, 0, redis.call('GET', key)
  if known then
    local u, l = string.match(known, '^(%S+) (%S+)$')
    used, last = tonumber(u), tonumber(l)
  end
  if now < last and last - now <= stepback then now = last end
  used = min(burst, max(0, used - max(0, now - last) * rate))
  if back then used = max(0, used - each) end
  local granted = fit(burst - used)
  used = used + granted * each * (back and 0 or 1)
  if back or granted * each > 0 then -- a refusal changes nothing: nothing to write, nothing to replicate
    if used > 0 then
      redis.call('SET', key, text(used) .. ' ' .. int(now), 'PX', int(ceil(used / rate / 1000) + 1000))
    elseif known then
      redis.call('DEL', key)
    end
  end
  local retry = 0
  if granted < times then retry = up((max(1, each) - (burst - used)) / rate) end
  return {granted, max(0, floor(burst - used + grain)), up(used / rate), retry}
end

if ARGV[1] == 'b' then
  local used, last, known = 0, 0, redis.call('GET', key)
  if known then
    local u, l = string.match(known, '^(%S+) (%S+)$')
    used, last = tonumber(u), tonumber(l)
  end
  if now < last and last - now <= stepback then now = last end
  used = min(burst, used)
  if now < last then last = now end
  local periods = floor((now - last) / per)
  used, last = max(0, used - periods * requests), last + periods * per
  if back then used = max(0, used - each) end
  if used == 0 then last = now end
  local granted = fit(burst - used)
  used = used + granted * each * (back and 0 or 1)
  local function till(tokens) -- they are back
    if tokens <= 0 then return 0 end
    return up(last - now + ceil(tokens / requests) * per)
  end
  if back or granted * each > 0 then
    if used > 0 then
      redis.call('SET', key, text(used) .. ' ' .. int(last), 'PX', int(ceil(till(used) / 1000) + 1000))
    elseif known then
      redis.call('DEL', key)
    end
  end
  local retry = 0
  if granted < times then retry = till(max(1, each) - (burst - used)) end
  return {granted, max(0, floor(burst - used + grain)), till(used), retry}
end

local step = ceil(per / 16)
local cur, span = floor(now / step) * step, 17 * step
local all, list, drop, used, ahead = redis.call('HGETALL', key), {}, {}, 0, 0
for i = 1, #all, 2 do
  local start, hits = tonumber(all[i]), tonumber(all[i + 1])
  if start > now + stepback then
    ahead = ahead + hits
    drop[#drop + 1] = all[i]
  elseif start < cur - 16 * step then
    drop[#drop + 1] = all[i]
  else
    list[#list + 1] = {start, hits}
    used = used + hits
  end
end
if #drop > 0 then redis.call('HDEL', key, unpack(drop)) end
local function add(hits)
  redis.call('HINCRBY', key, int(cur), int(hits))
  redis.call('PEXPIRE', key, int(ceil(span / 1000) + 1000))
  for _, v in ipairs(list) do
    if v[1] == cur then v[2] = v[2] + hits return end
  end
  list[#list + 1] = {cur, hits}
end
if ahead > 0 then
  add(ahead)
  used = used + ahead
end
used = min(used, requests)
table.sort(list, function(a, b) return a[1] < b[1] end)
if back then
  local left = each
  while left > 0 and #list > 0 do
    local v = list[#list]
    local n = min(left, v[2])
    left, used, v[2] = left - n, used - n, v[2] - n
    if v[2] == 0 then
      redis.call('HDEL', key, int(v[1]))
      list[#list] = nil
    else
      redis.call('HINCRBY', key, int(v[1]), int(-n))
    end
  end
end
local granted = fit(requests - used)
if not back and granted * each > 0 then
  add(granted * each)
  used = used + granted * each
  table.sort(list, function(a, b) return a[1] < b[1] end)
end
local reset, retry = 0, 0
if #list > 0 then reset = list[#list][1] + span - now end
if granted < times then
  local need = max(1, each) - (requests - used)
  retry = max(reset, 1)
  for _, v in ipairs(list) do
    need = need - v[2]
    if need <= 0 then
      retry = v[1] + span - now
      break
    end
  end
end
return {granted, requests - used, reset, retry}
