-- What one upload, perl, set off on seven architectures, and what the same packages did before; $1: how many packages.
-- Every seventh fails where it passed before, every eleventh as it did before, every thirteenth has nothing to test.
WITH packages AS (
    SELECT n, 'lib' || (ARRAY['archive', 'config', 'date', 'email', 'file', 'json', 'test', 'xml'])[1 + n % 8] || '-part' || n || '-perl' AS package
    FROM generate_series(1, $1) AS n
), runs AS (
    SELECT n, package, arch, round, now() - round * interval '3 days' - n * interval '1 second' AS at,
        CASE WHEN n % 11 = 0 OR (n % 7 = 0 AND round = 1 AND arch <> 'armhf') THEN 4 WHEN n % 13 = 0 THEN 8 WHEN n % 97 = 0 THEN 16 ELSE 0 END AS code
    FROM packages, unnest(ARRAY['amd64', 'arm64', 'armhf', 'i386', 'ppc64el', 'riscv64', 's390x']) AS arch, generate_series(1, 2) AS round
)
INSERT INTO results (container, release, arch, package, run_id, uuid, version, triggers, env, requester, exit_code,
    duration_seconds, private, readable_by, stored, recorded_us, rule)
SELECT 'autopkgtest-noble', 'noble', arch, package,
    to_char(at AT TIME ZONE 'UTC', 'YYYYMMDD"_"HH24MISS') || '_' || substr(md5(package || arch), 1, 5) || '@',
    gen_random_uuid()::text, '1.' || n % 40 || '-' || 3 - round, CASE round WHEN 1 THEN 'perl/5.40.0-6' ELSE package || '/1.' || n % 40 || '-1' END,
    '', CASE WHEN n % 5 = 0 THEN 'joe' END, code, 20 + n % 3000, FALSE, '', TRUE, (extract(epoch FROM at) * 1000000)::bigint, 'exit-code'
FROM runs
