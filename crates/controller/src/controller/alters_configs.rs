//! AlterConfigs and IncrementalAlterConfigs as far as they are alike: both name resources, and answer for
//! each of them.

use ottla_wire::messages::{
    AlterConfigsRequest, IncrementalAlterConfigsRequest, alter_configs_response,
    incremental_alter_configs_response,
};
use ottla_wire::primitives::{Request, Str};

/// A request that changes the settings of resources.
pub trait AltersConfigs: Request<Response: Default> {
    /// Type and name of each resource, in order.
    fn resources(&self) -> impl Iterator<Item = (i8, &Str)>;

    /// Leaves out the resources that `keep` does not want.
    fn retain(&mut self, keep: impl FnMut(i8, &Str) -> bool);

    /// Adds answers to a response.
    fn add(response: &mut Self::Response, answers: impl IntoIterator<Item = Altered>);

    /// A response of these answers.
    fn answer(answers: impl IntoIterator<Item = Altered>) -> Self::Response {
        let mut response = Self::Response::default();
        Self::add(&mut response, answers);
        response
    }
}

/// What became of one resource.
pub struct Altered {
    pub resource_type: i8,
    pub resource_name: Str,
    pub error_code: i16,
    pub error_message: Option<Str>,
}

/// The messages have the same fields and no type in common.
macro_rules! alters_configs {
    ($request:ty, $response:ident) => {
        impl AltersConfigs for $request {
            fn resources(&self) -> impl Iterator<Item = (i8, &Str)> {
                self.resources.iter().map(|one| (one.resource_type, &one.resource_name))
            }

            fn retain(&mut self, mut keep: impl FnMut(i8, &Str) -> bool) {
                self.resources.retain(|one| keep(one.resource_type, &one.resource_name));
            }

            fn add(response: &mut Self::Response, answers: impl IntoIterator<Item = Altered>) {
                let answers = answers.into_iter().map(|one| $response::AlterConfigsResourceResponse {
                    error_code: one.error_code,
                    error_message: one.error_message,
                    resource_type: one.resource_type,
                    resource_name: one.resource_name,
                });
                response.responses.extend(answers);
            }
        }
    };
}
alters_configs!(AlterConfigsRequest, alter_configs_response);
alters_configs!(IncrementalAlterConfigsRequest, incremental_alter_configs_response);
