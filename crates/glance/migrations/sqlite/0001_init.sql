CREATE TABLE `images` (
    `id` TEXT NOT NULL PRIMARY KEY,
    `name` TEXT NOT NULL DEFAULT '',
    `description` TEXT NOT NULL DEFAULT '',
    `is_emulated` INTEGER NOT NULL DEFAULT 0,
    `created_at` INTEGER NOT NULL DEFAULT 0,
    `updated_at` INTEGER NOT NULL DEFAULT 0,
    `update_version` INTEGER NOT NULL DEFAULT 0,
    `deleted` INTEGER NOT NULL DEFAULT 0,
    `deleted_at` INTEGER,
    `status` TEXT NOT NULL DEFAULT '',
    `progress` INTEGER NOT NULL DEFAULT 100,
    `domain_id` TEXT NOT NULL DEFAULT '',
    `tenant_id` TEXT NOT NULL DEFAULT '',
    `project_src` TEXT NOT NULL DEFAULT 'local',
    `is_system` INTEGER NOT NULL DEFAULT 0,
    `pending_deleted` INTEGER NOT NULL DEFAULT 0,
    `pending_deleted_at` INTEGER,
    `freezed` INTEGER NOT NULL DEFAULT 0,
    `is_public` INTEGER NOT NULL DEFAULT 0,
    `public_scope` TEXT NOT NULL DEFAULT 'none',
    `public_src` TEXT NOT NULL DEFAULT 'local',
    `shared_project_ids` TEXT NOT NULL DEFAULT 'null',
    `shared_domain_ids` TEXT NOT NULL DEFAULT 'null',
    `disable_delete` INTEGER NOT NULL DEFAULT 1,
    `size` INTEGER NOT NULL DEFAULT 0,
    `virtual_size` INTEGER NOT NULL DEFAULT 0,
    `disk_format` TEXT NOT NULL DEFAULT '',
    `checksum` TEXT NOT NULL DEFAULT '',
    `fast_hash` TEXT NOT NULL DEFAULT '',
    `sha256` TEXT NOT NULL DEFAULT '',
    `oss_checksum` TEXT NOT NULL DEFAULT '',
    `min_disk` INTEGER NOT NULL DEFAULT 0,
    `min_ram` INTEGER NOT NULL DEFAULT 0,
    `is_standard` INTEGER NOT NULL DEFAULT 0,
    `is_guest_image` INTEGER NOT NULL DEFAULT 0,
    `is_data` INTEGER NOT NULL DEFAULT 0,
    `os_arch` TEXT NOT NULL DEFAULT '',
    `encrypt_key_id` TEXT NOT NULL DEFAULT '',
    `encrypt_status` TEXT NOT NULL DEFAULT '',
    `properties` TEXT NOT NULL DEFAULT 'null',
    `os_type` TEXT NOT NULL DEFAULT '',
    `os_distribution` TEXT NOT NULL DEFAULT '',
    `uefi_support` INTEGER NOT NULL DEFAULT 0,
    `upload_creates` INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE `sub_images` (
    `id` TEXT NOT NULL PRIMARY KEY,
    `image_id` TEXT NOT NULL DEFAULT '',
    `format` TEXT NOT NULL DEFAULT '',
    `size` INTEGER NOT NULL DEFAULT 0,
    `checksum` TEXT NOT NULL DEFAULT '',
    `fast_hash` TEXT NOT NULL DEFAULT '',
    `status` TEXT NOT NULL DEFAULT '',
    `reason` TEXT NOT NULL DEFAULT '',
    `created_at` INTEGER NOT NULL DEFAULT 0,
    `updated_at` INTEGER NOT NULL DEFAULT 0,
    `update_version` INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE `image_quotas` (
    `domain_id` TEXT NOT NULL,
    `project_id` TEXT NOT NULL,
    `type` TEXT NOT NULL,
    `image` INTEGER NOT NULL,
    PRIMARY KEY (`domain_id`, `project_id`, `type`)
);
CREATE INDEX images_owner ON images (tenant_id, name);
CREATE INDEX images_domain ON images (domain_id);
CREATE INDEX images_name ON images (name);
CREATE INDEX images_created ON images (created_at);
CREATE INDEX images_status ON images (status);
CREATE UNIQUE INDEX sub_images_format ON sub_images (image_id, format);
