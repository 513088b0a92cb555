CREATE TABLE `boxes` (
    `id` TEXT NOT NULL PRIMARY KEY,
    `name` TEXT NOT NULL DEFAULT 'it''s',
    `pieces` INTEGER NOT NULL DEFAULT 7,
    `weight` REAL NOT NULL DEFAULT 0.5,
    `open` INTEGER NOT NULL DEFAULT 1,
    `shut` INTEGER,
    `parent` TEXT,
    `labels` TEXT NOT NULL DEFAULT '{"a":1}',
    `notes` TEXT,
    `made_at` INTEGER NOT NULL DEFAULT 0,
    `sealed_at` INTEGER
);

-- every comparison
SELECT COUNT(*) FROM `boxes` WHERE (`pieces` = ? AND `pieces` <> ? AND `pieces` < ? AND `pieces` <= ? AND `pieces` > ? AND `pieces` >= ?);
--   1 Int(1)
--   2 Int(1)
--   3 Int(1)
--   4 Int(1)
--   5 Int(1)
--   6 Int(1)

-- every kind of value
SELECT COUNT(*) FROM `boxes` WHERE (`name` = ? AND `weight` = ? AND `open` = 1 AND `made_at` = ? AND `labels` = ?);
--   1 Text("a")
--   2 Float(0.5)
--   3 Int(5)
--   4 Text("[1]")

-- a comparison with null
SELECT COUNT(*) FROM `boxes` WHERE FALSE;

-- null
SELECT COUNT(*) FROM `boxes` WHERE `parent` IS NULL;

-- not
SELECT COUNT(*) FROM `boxes` WHERE (`parent` = ?) IS NOT TRUE;
--   1 Text("x")

-- and in or in and
SELECT COUNT(*) FROM `boxes` WHERE ((`id` = ? OR (`id` = ? AND `open` = 1)) AND `pieces` = ?);
--   1 Text("a")
--   2 Text("b")
--   3 Int(1)

-- empty and
SELECT COUNT(*) FROM `boxes` WHERE (TRUE) IS NOT TRUE;

-- empty or
SELECT COUNT(*) FROM `boxes` WHERE (FALSE) IS NOT TRUE;

-- two columns
SELECT COUNT(*) FROM `boxes` WHERE `pieces` <= `weight`;

-- room
SELECT COUNT(*) FROM `boxes` WHERE `pieces` + ? <= `weight`;
--   1 Int(3)

-- in nothing
SELECT COUNT(*) FROM `boxes` WHERE FALSE;

-- in one
SELECT COUNT(*) FROM `boxes` WHERE `id` = ?;
--   1 Text("a")

-- in three
SELECT COUNT(*) FROM `boxes` WHERE `id` IN (?, ?, ?);
--   1 Text("a")
--   2 Text("b")
--   3 Text("c")

-- in ten texts
SELECT COUNT(*) FROM `boxes` WHERE `id` IN (SELECT value FROM json_each(?));
--   1 Text("[\"\\\"0'\",\"\\\"1'\",\"\\\"2'\",\"\\\"3'\",\"\\\"4'\",\"\\\"5'\",\"\\\"6'\",\"\\\"7'\",\"\\\"8'\",\"\\\"9'\"]")

-- in ten numbers
SELECT COUNT(*) FROM `boxes` WHERE `pieces` IN (SELECT value FROM json_each(?));
--   1 Text("[0,1,2,3,4,5,6,7,8,9]")

-- in ten flags
SELECT COUNT(*) FROM `boxes` WHERE `open` IN (SELECT value FROM json_each(?));
--   1 Text("[true,true,true,true,true,true,true,true,true,true]")

-- in ten weights
SELECT COUNT(*) FROM `boxes` WHERE `weight` IN (SELECT value FROM json_each(?));
--   1 Text("[0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5]")

-- in a select
SELECT COUNT(*) FROM `boxes` WHERE `id` IN (SELECT `box_id` FROM `lids` WHERE `open` = 0 LIMIT 5);

-- contains
SELECT COUNT(*) FROM `boxes` WHERE `name` LIKE ? ESCAPE '\';
--   1 Text("%5\\%\\_\\\\x%")

-- starts
SELECT COUNT(*) FROM `boxes` WHERE `name` LIKE ? ESCAPE '\';
--   1 Text("5\\%%")

-- ends
SELECT COUNT(*) FROM `boxes` WHERE `name` LIKE ? ESCAPE '\';
--   1 Text("%5\\%")

-- like
SELECT COUNT(*) FROM `boxes` WHERE `name` LIKE ? ESCAPE '\';
--   1 Text("5%\\\\")

-- nothing picked
SELECT TRUE FROM `boxes` LIMIT 1;

-- distinct
SELECT DISTINCT `id` FROM `boxes` ORDER BY `id`;

-- ordered both ways
SELECT `id` FROM `boxes` ORDER BY `parent`, `id` DESC;

-- a page
SELECT `id` FROM `boxes` WHERE `open` = 1 ORDER BY `id` LIMIT 20 OFFSET ?;
--   1 Int(40)

-- the rest
SELECT `id` FROM `boxes` LIMIT -1 OFFSET ?;
--   1 Int(3)

-- groups
SELECT `open`, COUNT(*), CAST(COALESCE(SUM(`pieces`), 0) AS INTEGER), CAST(COALESCE(SUM(`pieces` * `weight`), 0) AS INTEGER), MIN(`made_at`), MAX(`name`) FROM `boxes` GROUP BY `open` ORDER BY `open`;

-- ordered, with the facts at hand
SELECT `id` FROM `boxes` ORDER BY `parent`, `id` DESC;

-- locked
SELECT `id` FROM `boxes` ORDER BY `parent`, `id` DESC;

-- a row put in
INSERT INTO `boxes` (`id`, `name`, `pieces`, `weight`, `open`, `shut`, `parent`, `labels`, `notes`, `made_at`, `sealed_at`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);
--   1 Text("a")
--   2 Text("")
--   3 Int(0)
--   4 Float(0.0)
--   5 Bool(false)
--   6 Null(Bool)
--   7 Null(Text)
--   8 Text("{\"b\":\"c\"}")
--   9 Null(Json)
--   10 Int(0)
--   11 Null(Time)

-- a row put in if it can be
INSERT INTO `boxes` (`id`, `name`, `pieces`, `weight`, `open`, `shut`, `parent`, `labels`, `notes`, `made_at`, `sealed_at`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;
--   1 Text("a")
--   2 Text("")
--   3 Int(0)
--   4 Float(0.0)
--   5 Bool(false)
--   6 Null(Bool)
--   7 Null(Text)
--   8 Text("{\"b\":\"c\"}")
--   9 Null(Json)
--   10 Int(0)
--   11 Null(Time)

-- columns put in
INSERT INTO `boxes` (`id`, `shut`, `pieces`) VALUES (?, NULL, ?);
--   1 Text("a")
--   2 Int(1)

-- columns put in or over
INSERT INTO `boxes` (`id`, `shut`, `pieces`) VALUES (?, NULL, ?) ON CONFLICT (`id`) DO UPDATE SET `shut` = excluded.`shut`, `pieces` = excluded.`pieces`;
--   1 Text("a")
--   2 Int(1)

-- a key put in or over
INSERT INTO `boxes` (`id`) VALUES (?) ON CONFLICT (`id`) DO NOTHING;
--   1 Text("a")

-- an update
UPDATE `boxes` SET `name` = ?, `parent` = NULL, `pieces` = `pieces` + ?, `weight` = ?, `open` = ?, `made_at` = ? WHERE `id` = ?;
--   1 Text("n")
--   2 Int(-2)
--   3 Float(1.5)
--   4 Bool(false)
--   5 Int(9)
--   6 Text("a")

-- a delete
DELETE FROM `boxes` WHERE `id` = ?;
--   1 Text("a")

-- a delete of all
DELETE FROM `boxes`;
