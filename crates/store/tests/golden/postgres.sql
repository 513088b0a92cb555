CREATE TABLE "boxes" (
    "id" TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    "name" TEXT COLLATE "C" NOT NULL DEFAULT 'it''s',
    "pieces" BIGINT NOT NULL DEFAULT 7,
    "weight" DOUBLE PRECISION NOT NULL DEFAULT 0.5,
    "open" BOOLEAN NOT NULL DEFAULT true,
    "shut" BOOLEAN,
    "parent" TEXT COLLATE "C",
    "labels" TEXT NOT NULL DEFAULT '{"a":1}',
    "notes" TEXT,
    "made_at" BIGINT NOT NULL DEFAULT 0,
    "sealed_at" BIGINT
);

-- every comparison
SELECT COUNT(*) FROM "boxes" WHERE ("pieces" = $1::int8 AND "pieces" <> $2::int8 AND "pieces" < $3::int8 AND "pieces" <= $4::int8 AND "pieces" > $5::int8 AND "pieces" >= $6::int8);
--   1 Int(1)
--   2 Int(1)
--   3 Int(1)
--   4 Int(1)
--   5 Int(1)
--   6 Int(1)

-- every kind of value
SELECT COUNT(*) FROM "boxes" WHERE ("name" = $1 AND "weight" = $2::float8 AND "open" = TRUE AND "made_at" = $3::int8 AND "labels" = $4);
--   1 Text("a")
--   2 Float(0.5)
--   3 Int(5)
--   4 Text("[1]")

-- a comparison with null
SELECT COUNT(*) FROM "boxes" WHERE FALSE;

-- null
SELECT COUNT(*) FROM "boxes" WHERE "parent" IS NULL;

-- not
SELECT COUNT(*) FROM "boxes" WHERE ("parent" = $1) IS NOT TRUE;
--   1 Text("x")

-- and in or in and
SELECT COUNT(*) FROM "boxes" WHERE (("id" = $1 OR ("id" = $2 AND "open" = TRUE)) AND "pieces" = $3::int8);
--   1 Text("a")
--   2 Text("b")
--   3 Int(1)

-- empty and
SELECT COUNT(*) FROM "boxes" WHERE (TRUE) IS NOT TRUE;

-- empty or
SELECT COUNT(*) FROM "boxes" WHERE (FALSE) IS NOT TRUE;

-- two columns
SELECT COUNT(*) FROM "boxes" WHERE "pieces" <= "weight";

-- room
SELECT COUNT(*) FROM "boxes" WHERE "pieces" + $1::int8 <= "weight";
--   1 Int(3)

-- in nothing
SELECT COUNT(*) FROM "boxes" WHERE FALSE;

-- in one
SELECT COUNT(*) FROM "boxes" WHERE "id" = $1;
--   1 Text("a")

-- in three
SELECT COUNT(*) FROM "boxes" WHERE "id" = ANY($1::text[]);
--   1 Texts(["a", "b", "c", "c", "c", "c", "c", "c", "c", "c"])

-- in ten texts
SELECT COUNT(*) FROM "boxes" WHERE "id" = ANY($1::text[]);
--   1 Texts(["\"0'", "\"1'", "\"2'", "\"3'", "\"4'", "\"5'", "\"6'", "\"7'", "\"8'", "\"9'"])

-- in ten numbers
SELECT COUNT(*) FROM "boxes" WHERE "pieces" = ANY($1::int8[]);
--   1 Ints([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])

-- in ten flags
SELECT COUNT(*) FROM "boxes" WHERE "open" = ANY($1::bool[]);
--   1 Bools([true, true, true, true, true, true, true, true, true, true])

-- in ten weights
SELECT COUNT(*) FROM "boxes" WHERE "weight" = ANY($1::float8[]);
--   1 Floats([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])

-- in a select
SELECT COUNT(*) FROM "boxes" WHERE "id" IN (SELECT "box_id" FROM "lids" WHERE "open" = FALSE LIMIT 5);

-- contains
SELECT COUNT(*) FROM "boxes" WHERE "name" ILIKE $1 ESCAPE '\';
--   1 Text("%5\\%\\_\\\\x%")

-- starts
SELECT COUNT(*) FROM "boxes" WHERE "name" ILIKE $1 ESCAPE '\';
--   1 Text("5\\%%")

-- ends
SELECT COUNT(*) FROM "boxes" WHERE "name" ILIKE $1 ESCAPE '\';
--   1 Text("%5\\%")

-- like
SELECT COUNT(*) FROM "boxes" WHERE "name" ILIKE $1 ESCAPE '\';
--   1 Text("5%\\\\")

-- nothing picked
SELECT TRUE FROM "boxes" LIMIT 1;

-- distinct
SELECT DISTINCT "id" FROM "boxes" ORDER BY "id" NULLS FIRST;

-- ordered both ways
SELECT "id" FROM "boxes" ORDER BY "parent" NULLS FIRST, "id" DESC NULLS LAST;

-- a page
SELECT "id" FROM "boxes" WHERE "open" = TRUE ORDER BY "id" NULLS FIRST LIMIT 20 OFFSET $1::int8;
--   1 Int(40)

-- the rest
SELECT "id" FROM "boxes" OFFSET $1::int8;
--   1 Int(3)

-- groups
SELECT "open", COUNT(*), TRUNC(COALESCE(SUM("pieces"), 0))::int8, TRUNC(COALESCE(SUM("pieces" * "weight"), 0))::int8, MIN("made_at"), MAX("name") FROM "boxes" GROUP BY "open" ORDER BY "open" NULLS FIRST;

-- ordered, with the facts at hand
SELECT "id" FROM "boxes" ORDER BY "parent" NULLS FIRST, "id" DESC;

-- locked
SELECT "id" FROM "boxes" ORDER BY "parent" NULLS FIRST, "id" DESC FOR UPDATE;

-- a row put in
INSERT INTO "boxes" ("id", "name", "pieces", "weight", "open", "shut", "parent", "labels", "notes", "made_at", "sealed_at") VALUES ($1, $2, $3::int8, $4::float8, $5::bool, $6::bool, $7, $8, $9, $10::int8, $11::int8);
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
INSERT INTO "boxes" ("id", "name", "pieces", "weight", "open", "shut", "parent", "labels", "notes", "made_at", "sealed_at") VALUES ($1, $2, $3::int8, $4::float8, $5::bool, $6::bool, $7, $8, $9, $10::int8, $11::int8) ON CONFLICT DO NOTHING;
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
INSERT INTO "boxes" ("id", "shut", "pieces") VALUES ($1, NULL, $2::int8);
--   1 Text("a")
--   2 Int(1)

-- columns put in or over
INSERT INTO "boxes" ("id", "shut", "pieces") VALUES ($1, NULL, $2::int8) ON CONFLICT ("id") DO UPDATE SET "shut" = excluded."shut", "pieces" = excluded."pieces";
--   1 Text("a")
--   2 Int(1)

-- a key put in or over
INSERT INTO "boxes" ("id") VALUES ($1) ON CONFLICT ("id") DO NOTHING;
--   1 Text("a")

-- an update
UPDATE "boxes" SET "name" = $1, "parent" = NULL, "pieces" = "pieces" + $2::int8, "weight" = $3::float8, "open" = $4::bool, "made_at" = $5::int8 WHERE "id" = $6;
--   1 Text("n")
--   2 Int(-2)
--   3 Float(1.5)
--   4 Bool(false)
--   5 Int(9)
--   6 Text("a")

-- a delete
DELETE FROM "boxes" WHERE "id" = $1;
--   1 Text("a")

-- a delete of all
DELETE FROM "boxes";
