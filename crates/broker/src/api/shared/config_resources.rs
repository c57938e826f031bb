//! Resources with settings, named by the code of their kind.

use ottla_controller::controller::{Altered, AltersConfigs, Request, Response};
use ottla_controller::image::ResourceKind;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use crate::api::Call;
use crate::door::{Operation, Resource};

/// The resource whose permission decides about settings. All kinds but topics and groups belong to the
/// cluster.
pub fn governed_by(kind: i8, name: &str) -> Resource<'_> {
    if kind == ResourceKind::Topic.code() {
        Resource::Topic(name)
    } else if kind == ResourceKind::Group.code() {
        Resource::Group(name)
    } else {
        Resource::Cluster
    }
}

/// Has the controller change the settings of those resources that the client may change.
pub async fn alter<R>(call: &Call<'_>, mut request: R) -> R::Response
where
    R: AltersConfigs + Into<Request>,
    R::Response: TryFrom<Response>,
{
    let mut refused = Vec::new();
    request.retain(|kind, name| {
        let Err(code) = call.authorize(Operation::AlterConfigs, governed_by(kind, name)) else { return true };
        let why = Str::from_static("the client may not change its settings");
        refused.push(refuse(kind, name.clone(), code, why));
        false
    });
    let resources: Vec<(i8, Str)> = request.resources().map(|(kind, name)| (kind, name.clone())).collect();
    let mut response = call.ctx.controller.ask(request).await.unwrap_or_else(|error| {
        let why: Str = error.to_string().into();
        let code = ErrorCode::from(error);
        R::answer(resources.into_iter().map(|(kind, name)| refuse(kind, name, code, why.clone())))
    });
    R::add(&mut response, refused);
    response
}

fn refuse(resource_type: i8, resource_name: Str, code: ErrorCode, why: Str) -> Altered {
    Altered { resource_type, resource_name, error_code: code.code(), error_message: Some(why) }
}
