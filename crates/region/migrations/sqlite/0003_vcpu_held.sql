ALTER TABLE `servers` ADD COLUMN `vcpu_held` INTEGER NOT NULL DEFAULT 0;
UPDATE `servers` SET `vcpu_held` = `vcpu_count`;
