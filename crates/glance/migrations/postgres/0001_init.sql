CREATE TABLE "images" (
    "id" TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    "name" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "description" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "is_emulated" BOOLEAN NOT NULL DEFAULT FALSE,
    "created_at" BIGINT NOT NULL DEFAULT 0,
    "updated_at" BIGINT NOT NULL DEFAULT 0,
    "update_version" BIGINT NOT NULL DEFAULT 0,
    "deleted" BOOLEAN NOT NULL DEFAULT FALSE,
    "deleted_at" BIGINT,
    "status" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "progress" BIGINT NOT NULL DEFAULT 100,
    "domain_id" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "tenant_id" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "project_src" TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    "is_system" BOOLEAN NOT NULL DEFAULT FALSE,
    "pending_deleted" BOOLEAN NOT NULL DEFAULT FALSE,
    "pending_deleted_at" BIGINT,
    "freezed" BOOLEAN NOT NULL DEFAULT FALSE,
    "is_public" BOOLEAN NOT NULL DEFAULT FALSE,
    "public_scope" TEXT COLLATE "C" NOT NULL DEFAULT 'none',
    "public_src" TEXT COLLATE "C" NOT NULL DEFAULT 'local',
    "shared_project_ids" TEXT NOT NULL DEFAULT 'null',
    "shared_domain_ids" TEXT NOT NULL DEFAULT 'null',
    "disable_delete" BOOLEAN NOT NULL DEFAULT true,
    "size" BIGINT NOT NULL DEFAULT 0,
    "virtual_size" BIGINT NOT NULL DEFAULT 0,
    "disk_format" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "checksum" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "fast_hash" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "sha256" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "oss_checksum" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "min_disk" BIGINT NOT NULL DEFAULT 0,
    "min_ram" BIGINT NOT NULL DEFAULT 0,
    "is_standard" BOOLEAN NOT NULL DEFAULT FALSE,
    "is_guest_image" BOOLEAN NOT NULL DEFAULT FALSE,
    "is_data" BOOLEAN NOT NULL DEFAULT FALSE,
    "os_arch" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "encrypt_key_id" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "encrypt_status" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "properties" TEXT NOT NULL DEFAULT 'null',
    "os_type" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "os_distribution" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "uefi_support" BOOLEAN NOT NULL DEFAULT FALSE,
    "upload_creates" BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE TABLE "sub_images" (
    "id" TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    "image_id" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "format" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "size" BIGINT NOT NULL DEFAULT 0,
    "checksum" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "fast_hash" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "status" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "reason" TEXT COLLATE "C" NOT NULL DEFAULT '',
    "created_at" BIGINT NOT NULL DEFAULT 0,
    "updated_at" BIGINT NOT NULL DEFAULT 0,
    "update_version" BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE "image_quotas" (
    "domain_id" TEXT COLLATE "C" NOT NULL,
    "project_id" TEXT COLLATE "C" NOT NULL,
    "type" TEXT COLLATE "C" NOT NULL,
    "image" BIGINT NOT NULL,
    PRIMARY KEY ("domain_id", "project_id", "type")
);
CREATE INDEX images_owner ON images (tenant_id, name);
CREATE INDEX images_domain ON images (domain_id);
CREATE INDEX images_name ON images (name);
CREATE INDEX images_created ON images (created_at);
CREATE INDEX images_status ON images (status);
CREATE UNIQUE INDEX sub_images_format ON sub_images (image_id, format);
