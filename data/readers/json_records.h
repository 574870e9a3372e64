#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "data/readers/records.h"

namespace dtrain::data {

/// Objects of JSON as records, told apart by the content: an object a line; an array of objects; or one object that
/// holds such an array, under "data" or as its only array of objects. Numbers and booleans become their JSON text, null
/// an empty one; arrays of them and of texts are kept for the columns that `keeps_lists` names. The content is valid
/// UTF-8 without a byte-order mark; `name` is for messages. Throws InputError with name:line:column.
Records read_json_records(std::string_view content, const std::string& name,
                          const std::function<bool(std::string_view)>& keeps_lists);

}  // namespace dtrain::data
