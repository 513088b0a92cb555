//! The ways in besides the plain password, and what keeps strangers out: application credentials, signed requests, second factors, locks,
//! the age and revocation of tokens. Everything on both databases.

#[path = "../suite/kit.rs"]
#[allow(dead_code, reason = "the kit is the suite's; not all of it is needed here")]
mod kit;
#[path = "../suite/ways.rs"]
mod ways;

mod application;
mod attacks;
mod factor;
mod signed;
mod tokens;

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
            application { what_a_program_works_with what_it_is_kept_from rules_of_its_requests who_may_make_them }
            signed { keys_in_the_form_of_ec2 requests_somebody_signed texts_somebody_signed }
            factor { from_the_secret_to_a_login recovery_codes_count_once what_a_token_alone_cannot_do an_administrator_removes_it }
            attacks { nobody_learns_who_exists names_of_several old_hashes_do_not_tell_either guesses_at_one_user guesses_from_one_address too_many_failures_a_second names_nobody_has_lock_too one_time_passwords_are_not_guessed a_used_one_time_password old_and_future_signatures }
            tokens { every_revocation_reaches_other_services_at_once revocations_survive_a_restart keys_change_without_a_gap many_roles_fit_into_a_token audit_ids_are_a_chain hashes_are_renewed_at_login }
        }
    };
}

mod sqlite {
    all!(on_sqlite);
}

mod postgres {
    all!(on_postgres);
}
