//! The one derive of the house.
//!
//! `#[derive(Columns)]` turns a struct into a table of [`base::Field`] facts plus typed get/set by position. `#[derive(Resource)]` does the
//! same and adds the facts of the resource itself. No SQL, no HTTP and no serde is emitted: one engine walks the table for all resources, so a
//! resource costs a few milliseconds of compile time instead of a second.
//!
//! Field attributes, all inside `#[field(..)]`:
//!
//! | word | meaning |
//! |---|---|
//! | `flatten` | the field is a struct with columns of its own |
//! | `create`, `create = required` | accepted (demanded) in a create body |
//! | `update` | accepted in an update body |
//! | `show` | only in a single object's answer, not in list rows |
//! | `hidden` | stored, never answered |
//! | `domain`, `admin` | answered, accepted and filterable only with domain or system scope |
//! | `search`, `filter` | text search looks into it; it is a plain query parameter of list |
//! | `refers = "storage"` | holds the id of that resource; names are resolved |
//! | `alias = "a b"` | further accepted names |
//! | `default = ".."` | value when a create body leaves it out |
//! | `name = ".."` | wire and column name, where the Rust name cannot be it |

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Fields, Ident, Lit, Meta, Token, punctuated::Punctuated, spanned::Spanned};

#[proc_macro_derive(Columns, attributes(field))]
pub fn columns(input: TokenStream) -> TokenStream {
    emit(input, false)
}

#[proc_macro_derive(Resource, attributes(field, resource))]
pub fn resource(input: TokenStream) -> TokenStream {
    emit(input, true)
}

fn emit(input: TokenStream, with_resource: bool) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    let result = columns_impl(&input).and_then(|columns| {
        let resource = if with_resource { resource_impl(&input)? } else { Tokens::new() };
        Ok(quote! { #columns #resource })
    });
    result.unwrap_or_else(Error::into_compile_error).into()
}

/// The doc comment as one paragraph.
fn doc(attrs: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attr in attrs.iter().filter(|a| a.path().is_ident("doc")) {
        if let Meta::NameValue(nv) = &attr.meta
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &nv.value
        {
            lines.push(text.value().trim().to_string());
        }
    }
    lines.join(" ").trim().to_string()
}

fn words(attrs: &[Attribute], name: &str) -> syn::Result<Vec<Meta>> {
    let mut out = Vec::new();
    for attr in attrs.iter().filter(|a| a.path().is_ident(name)) {
        out.extend(attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?);
    }
    Ok(out)
}

fn text(expr: &Expr) -> syn::Result<String> {
    match expr {
        Expr::Lit(ExprLit { lit: Lit::Str(s), .. }) => Ok(s.value()),
        Expr::Path(p) if p.path.get_ident().is_some() => Ok(p.path.get_ident().map(Ident::to_string).unwrap_or_default()),
        other => Err(Error::new(other.span(), "expected a string")),
    }
}

enum Part {
    Column { ident: Ident, fact: Tokens },
    Flatten { ident: Ident, ty: syn::Type },
}

fn part(field: &syn::Field) -> syn::Result<Part> {
    let ident = field.ident.clone().ok_or_else(|| Error::new(field.span(), "columns need names"))?;
    let ty = field.ty.clone();
    let mut name = ident.to_string().trim_start_matches("r#").to_string();
    let (mut refers, mut default) = (quote!(None), quote!(None));
    let mut aliases: Vec<String> = Vec::new();
    let mut flags: Vec<Ident> = Vec::new();
    for word in words(&field.attrs, "field")? {
        let key = word.path().get_ident().map(Ident::to_string).unwrap_or_default();
        match (key.as_str(), &word) {
            ("flatten", Meta::Path(_)) => return Ok(Part::Flatten { ident, ty }),
            ("create", Meta::NameValue(nv)) if text(&nv.value)? == "required" => {
                flags.extend([format_ident!("CREATE"), format_ident!("REQUIRED")]);
            }
            ("create" | "update" | "show" | "hidden" | "domain" | "admin" | "search" | "filter", Meta::Path(_)) => {
                flags.push(format_ident!("{}", key.to_uppercase()));
            }
            ("refers", Meta::NameValue(nv)) => {
                let to = text(&nv.value)?;
                refers = quote!(Some(#to));
            }
            ("default", Meta::NameValue(nv)) => {
                let value = text(&nv.value)?;
                default = quote!(Some(#value));
            }
            ("alias", Meta::NameValue(nv)) => aliases.extend(text(&nv.value)?.split_whitespace().map(str::to_string)),
            ("name", Meta::NameValue(nv)) => name = text(&nv.value)?,
            _ => return Err(Error::new(word.span(), "unknown word; the list is in the documentation of the derive crate")),
        }
    }
    let doc = doc(&field.attrs);
    let fact = quote! {
        ::base::Part::Column(::base::Field {
            name: #name, kind: <#ty as ::base::Cell>::KIND, nullable: <#ty as ::base::Cell>::NULLABLE, doc: #doc,
            flags: ::base::Flags::empty() #(.with(::base::Flags::#flags))*,
            refers: #refers, aliases: &[#(#aliases),*], default: #default,
        })
    };
    Ok(Part::Column { ident, fact })
}

fn columns_impl(input: &DeriveInput) -> syn::Result<Tokens> {
    let Data::Struct(data) = &input.data else { return Err(Error::new(input.span(), "only structs have columns")) };
    let Fields::Named(fields) = &data.fields else { return Err(Error::new(input.span(), "columns need names")) };
    let parts = fields.named.iter().map(part).collect::<syn::Result<Vec<_>>>()?;

    let (mut facts, mut count) = (Vec::new(), Vec::new());
    let (mut get, mut set) = (Vec::new(), Vec::new());
    for part in &parts {
        match part {
            Part::Column { ident, fact } => {
                facts.push(fact.clone());
                count.push(quote!(1));
                get.push(quote! { if i == 0 { return ::base::Cell::to_value(&self.#ident); } i -= 1; });
                set.push(quote! { if i == 0 { self.#ident = ::base::Cell::from_value(value)?; return Ok(()); } i -= 1; });
            }
            Part::Flatten { ident, ty } => {
                facts.push(quote! { ::base::Part::Flatten(<#ty as ::base::Columns>::PARTS) });
                count.push(quote!(<#ty as ::base::Columns>::COUNT));
                let n = quote!(<#ty as ::base::Columns>::COUNT);
                get.push(quote! { if i < #n { return ::base::Columns::get(&self.#ident, i); } i -= #n; });
                set.push(quote! { if i < #n { return ::base::Columns::set(&mut self.#ident, i, value); } i -= #n; });
            }
        }
    }
    let name = &input.ident;
    Ok(quote! {
        impl ::base::Columns for #name {
            const PARTS: &'static [::base::Part] = &[#(#facts),*];
            const COUNT: usize = 0 #(+ #count)*;
            #[allow(unused_assignments, unused_mut)]
            fn get(&self, mut i: usize) -> ::base::Value {
                #(#get)*
                ::base::Value::Null
            }
            #[allow(unused_assignments, unused_mut)]
            fn set(&mut self, mut i: usize, value: ::base::Value) -> ::std::result::Result<(), ::base::BadValue> {
                #(#set)*
                Err(::base::BadValue::no_such_column())
            }
        }
    })
}

fn resource_impl(input: &DeriveInput) -> syn::Result<Tokens> {
    let (mut name, mut plural, mut service, mut table) = (None, None, None, None);
    let mut level = quote!(Project);
    for word in words(&input.attrs, "resource")? {
        let Meta::NameValue(nv) = &word else { return Err(Error::new(word.span(), "expected key = value")) };
        let value = text(&nv.value)?;
        match word.path().get_ident().map(Ident::to_string).unwrap_or_default().as_str() {
            "name" => name = Some(value),
            "plural" => plural = Some(value),
            "service" => service = Some(value),
            "table" => table = Some(value),
            "level" => {
                let variant = match value.as_str() {
                    "system" => "System",
                    "domain" => "Domain",
                    "project" => "Project",
                    "user" => "User",
                    other => return Err(Error::new(word.span(), format!("no level {other}; one of system, domain, project, user"))),
                };
                let variant = format_ident!("{variant}");
                level = quote!(#variant);
            }
            other => return Err(Error::new(word.span(), format!("unknown word {other}"))),
        }
    }
    let missing = |what: &str| Error::new(input.span(), format!("#[resource(..)] needs {what}"));
    let name = name.ok_or_else(|| missing("name"))?;
    let plural = plural.ok_or_else(|| missing("plural"))?;
    let service = service.ok_or_else(|| missing("service"))?;
    let table = table.unwrap_or_else(|| plural.clone());
    let doc = doc(&input.attrs);
    let ident = &input.ident;
    Ok(quote! {
        impl ::base::Resource for #ident {
            fn facts() -> &'static ::base::Facts {
                static FACTS: ::std::sync::LazyLock<::base::Facts> = ::std::sync::LazyLock::new(|| {
                    ::base::Facts::new(#name, #plural, #service, #table, ::base::Level::#level, #doc, <#ident as ::base::Columns>::PARTS)
                });
                &FACTS
            }
        }
    })
}
