//! The identity service over a real port: bootstrap, logins, resources, permissions, recorded clients, replicas. Everything on both databases.

mod access;
mod attacks;
mod audit;
mod bootstrap;
mod grants;
mod kit;
mod limits;
mod logged;
mod login;
mod permissions;
mod replay;
mod replicas;
mod resources;

/// One test for each function, run with the databases of `$run`.
macro_rules! tests {
    ($run:ident: $($module:ident { $($name:ident)* })*) => {
        $(mod $module {
            $(#[tokio::test]
            async fn $name() {
                crate::kit::$run(crate::$module::$name()).await;
            })*
        })*
    };
}

macro_rules! all {
    ($run:ident) => {
        tests! {
            $run:
            audit { every_login_leaves_a_record records_as_files no_secret_in_any_record }
            attacks { tampered_tokens_are_refused_and_logged protected_fields headers_that_would_say_who }
            logged { tokens_that_are_not_ours fields_and_rights_of_others headers_that_stand_twice }
            limits { what_belongs_to_whom three_administrators_stay_three what_keeps_a_project_or_domain quotas }
            access { explained denials_name_what_is_missing conditions_on_tags conditions_in_another_process }
            bootstrap { every_table_is_as_the_facts_say a_second_start_changes_nothing what_a_platform_begins_with a_password_is_made_up_once the_configuration_moves_endpoints_and_sets_passwords two_starts_at_once }
            login { what_a_token_answer_holds who_cannot_log_in too_many_wrong_passwords_lock unscoped_first_then_a_project scopes_of_openstack_and_domains verifying_and_revoking what_voids_tokens tokens_run_out_and_keys_change access_keys }
            resources { domains projects users password_history_and_age roles_and_policies services_endpoints_regions configuration_of_services credentials }
            grants { by_path by_action_and_by_context at_most_so_many_roles role_assignments }
            permissions { guests an_administrator_of_a_domain_stays_in_it nobody_hands_out_more_than_he_holds members_of_a_project users_about_themselves a_policy_works_from_the_next_request_on the_widest_list_is_the_widest }
            replay { command_line_client a_service_that_checks_a_token web_login }
            replicas { a_change_reaches_the_other_replica a_service_in_another_process }
        }
    };
}

mod sqlite {
    all!(on_sqlite);
}

mod postgres {
    all!(on_postgres);
}
